import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClockSync } from './clock';
import { Urls } from './rung';
import type { RungContext } from './rung';
import type { ClientMessage } from './signal';
import { WebRTCRung } from './webrtc';

class FakeSocket {
  static readonly OPEN = 1;
  static last: FakeSocket;
  readyState = 0;
  sent: ClientMessage[] = [];
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((e: { data: unknown }) => void) | null = null;
  onclose: ((e: { reason: string }) => void) | null = null;

  constructor(readonly url: string) {
    FakeSocket.last = this;
  }

  send(data: string) {
    this.sent.push(JSON.parse(data) as ClientMessage);
  }

  close() {
    this.closed = true;
  }

  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  say(message: unknown) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  types() {
    return this.sent.map((m) => m.type).filter((t) => t !== 'ping');
  }
}

class FakePeer {
  static last: FakePeer;
  calls: string[] = [];
  transceivers: { kind: string; direction: string; currentDirection: string; receiver: { jitterBufferTarget: number | null } }[] = [];
  iceConnectionState = 'new';
  connectionState = 'new';
  agreed = 'recvonly';
  closed = false;
  ontrack: ((e: { track: unknown }) => void) | null = null;
  onicecandidate: ((e: { candidate: unknown }) => void) | null = null;
  oniceconnectionstatechange: (() => void) | null = null;
  onconnectionstatechange: (() => void) | null = null;

  constructor(readonly config: RTCConfiguration) {
    FakePeer.last = this;
  }

  addTransceiver(kind: string, init: { direction: string }) {
    const t = { kind, direction: init.direction, currentDirection: '', receiver: { jitterBufferTarget: null } };
    this.transceivers.push(t);
    return t;
  }

  getTransceivers() {
    return this.transceivers;
  }

  createOffer() {
    return Promise.resolve({ type: 'offer', sdp: 'the offer' });
  }

  setLocalDescription() {
    this.calls.push('local');
    return Promise.resolve();
  }

  setRemoteDescription(answer: { sdp: string }) {
    this.calls.push('remote ' + answer.sdp);
    for (const t of this.transceivers) t.currentDirection = this.agreed;
    return answer.sdp === 'bad' ? Promise.reject(new Error('bad SDP')) : Promise.resolve();
  }

  addIceCandidate(c: { candidate: string }) {
    this.calls.push('candidate ' + c.candidate);
    return c.candidate === 'odd' ? Promise.reject(new Error('odd')) : Promise.resolve();
  }

  getStats() {
    return Promise.resolve(
      new Map<string, unknown>([
        ['v', { type: 'inbound-rtp', kind: 'video', bytesReceived: 1000, packetsLost: 2, codecId: 'c' }],
        ['a', { type: 'inbound-rtp', kind: 'audio', bytesReceived: 5, packetsLost: 9 }],
        ['c', { type: 'codec', mimeType: 'video/H264' }],
      ]),
    );
  }

  close() {
    this.closed = true;
  }

  ice(state: string) {
    this.iceConnectionState = state;
    this.oniceconnectionstatechange?.();
  }
}

describe('WebRTCRung', () => {
  let rung: WebRTCRung;
  let said: string[];
  let clock: ClockSync;
  let frame: ((now: number, meta: { rtpTimestamp: number; presentationTime: number }) => void) | null;

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('WebSocket', FakeSocket);
    vi.stubGlobal('RTCPeerConnection', FakePeer);
    vi.stubGlobal('MediaStream', class extends EventTarget { addTrack() { /* kept by nobody */ } });
    frame = null;
    Object.defineProperties(HTMLVideoElement.prototype, {
      requestVideoFrameCallback: { configurable: true, value: (f: typeof frame) => ((frame = f), 1) },
      cancelVideoFrameCallback: { configurable: true, value: () => (frame = null) },
      play: { configurable: true, value: () => Promise.resolve() },
      srcObject: { configurable: true, writable: true, value: null },
    });
    said = [];
    clock = new ClockSync();
    const ctx: RungContext = {
      camera: 'door',
      url: new Urls('http://h', 'door'),
      clock,
      stillsWidth: 0,
      events: {
        picture: () => said.push('picture'),
        source: (state, reason) => said.push(`${state} ${reason ?? ''}`.trim()),
        down: (reason) => said.push(`down ${reason.code} ${reason.detail ?? ''}`.trim()),
      },
    };
    rung = new WebRTCRung(ctx);
  });

  afterEach(() => {
    rung.stop();
    expect(vi.getTimerCount()).toBe(0);
    expect(FakePeer.last?.closed ?? true).toBe(true);
    expect(frame).toBeNull();
    for (const name of ['requestVideoFrameCallback', 'cancelVideoFrameCallback', 'play', 'srcObject']) {
      Reflect.deleteProperty(HTMLVideoElement.prototype, name);
    }
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  const settle = () => vi.advanceTimersByTimeAsync(0);

  async function connect() {
    rung.start();
    FakeSocket.last.open();
    await settle();
    FakeSocket.last.say({ type: 'answer', sdp: 'the answer' });
    await settle();
  }

  it('offers to receive, at once, without ICE servers and without a jitter buffer', async () => {
    rung.start();
    await settle();
    expect(FakeSocket.last.url).toBe('ws://h/api/signal/door');
    expect(FakePeer.last.config.iceServers).toBeUndefined();
    expect(FakePeer.last.transceivers.map((t) => `${t.kind} ${t.direction}`)).toEqual(['video recvonly', 'audio recvonly']);
    expect(FakePeer.last.transceivers[0]?.receiver.jitterBufferTarget).toBe(0);
    expect(FakeSocket.last.sent).toEqual([]);
    FakeSocket.last.open();
    expect(FakeSocket.last.sent[0]).toEqual({ type: 'offer', sdp: 'the offer' });
    expect(rung.surface.muted).toBe(true);
  });

  it('trickles its candidates after the offer, and their end', async () => {
    rung.start();
    await settle();
    FakePeer.last.onicecandidate?.({ candidate: { candidate: 'c1', sdpMid: '0', sdpMLineIndex: 0, foundation: 'x' } });
    FakePeer.last.onicecandidate?.({ candidate: { candidate: '', sdpMid: '0', sdpMLineIndex: 0 } });
    FakePeer.last.onicecandidate?.({ candidate: null });
    FakeSocket.last.open();
    expect(FakeSocket.last.types()).toEqual(['offer', 'candidate', 'candidate']);
    expect(FakeSocket.last.sent[1]).toEqual({
      type: 'candidate',
      candidate: { candidate: 'c1', sdpMid: '0', sdpMLineIndex: 0 },
    });
    expect(FakeSocket.last.sent[2]).toEqual({ type: 'candidate', candidate: null });
  });

  it('applies answer and candidates in their order, and bears an odd one', async () => {
    rung.start();
    FakeSocket.last.open();
    for (const m of [
      { type: 'answer', sdp: 'A' },
      { type: 'candidate', candidate: { candidate: 'odd' } },
      { type: 'candidate', candidate: { candidate: 'fine' } },
      { type: 'candidate', candidate: null },
    ]) {
      FakeSocket.last.say(m);
    }
    await settle();
    expect(FakePeer.last.calls).toEqual(['local', 'remote A', 'candidate odd', 'candidate fine']);
    expect(said).toEqual([]);
  });

  it('measures the delay from capture to screen', async () => {
    await connect();
    const ping = FakeSocket.last.sent.find((m) => m.type === 'ping');
    const t = ping?.type === 'ping' ? ping.t : NaN;
    vi.advanceTimersByTime(4);
    FakeSocket.last.say({ type: 'pong', t, server: 1_000_000 });
    FakeSocket.last.say({ type: 'clock', rtp: 4294967000, captured: 1_000_000, clock_rate: 90000 });
    // 90 ticks after the wrap: 386 ticks, 4.3 ms after the mark; shown 22 ms after the server's pong.
    frame?.(0, { rtpTimestamp: 90, presentationTime: t + 2 + 22 });
    expect(said).toEqual(['picture']);
    const stats = await rung.stats();
    expect(stats.delay).toBeCloseTo(22 - 386 / 90, 3);
    expect(stats).toMatchObject({ rtt: 4, codec: 'H264', lost: 2 });
  });

  it('passes on what the server says of the camera', async () => {
    await connect();
    FakeSocket.last.say({ type: 'state', state: 'lost', reason: 'unplugged' });
    expect(said).toEqual(['lost unplugged']);
  });

  it('reports errors before the answer, and the final ones also later', async () => {
    rung.start();
    FakeSocket.last.open();
    FakeSocket.last.say({ type: 'error', error: 'H265 needs another way', code: 'no_codec' });
    expect(said).toEqual(['down refused H265 needs another way']);
    FakeSocket.last.onclose?.({ reason: '' });
    expect(said).toHaveLength(1);
  });

  it('keeps a harmless error after the answer to itself until the socket closes', async () => {
    await connect();
    FakeSocket.last.say({ type: 'error', error: 'odd candidate', code: 'bad_candidate' });
    expect(said).toEqual([]);
    FakeSocket.last.onclose?.({ reason: '' });
    expect(said).toEqual(['down refused odd candidate']);
  });

  it('goes down with the socket', async () => {
    await connect();
    FakeSocket.last.onclose?.({ reason: '' });
    expect(said).toEqual(['down signaling']);
  });

  it('bears two seconds of disconnection, not more', async () => {
    await connect();
    FakePeer.last.ice('disconnected');
    vi.advanceTimersByTime(1999);
    FakePeer.last.ice('connected');
    vi.advanceTimersByTime(1000);
    expect(said).toEqual([]);
    FakePeer.last.ice('disconnected');
    vi.advanceTimersByTime(2000);
    expect(said).toEqual(['down ice']);
  });

  it('notices a server that has gone without a word', async () => {
    await connect();
    vi.advanceTimersByTime(6000);
    expect(said).toEqual([]);
    vi.advanceTimersByTime(2001);
    expect(said).toEqual(['down silent']);
  });

  it('reports an answer that it cannot read, or that refuses the video', async () => {
    rung.start();
    FakeSocket.last.open();
    FakeSocket.last.say({ type: 'answer', sdp: 'bad' });
    await settle();
    expect(said).toEqual(['down decode bad SDP']);
    rung.stop();
  });

  it('reports a refused video line', async () => {
    rung.start();
    FakePeer.last.agreed = 'inactive';
    FakeSocket.last.open();
    FakeSocket.last.say({ type: 'answer', sdp: 'A' });
    await settle();
    expect(said).toEqual(['down unsupported']);
  });

  it('does not hold up the load event of the page while nothing comes', async () => {
    const ready = vi.spyOn(document, 'readyState', 'get').mockReturnValue('interactive');
    await connect();
    const track = new EventTarget();
    FakePeer.last.ontrack?.({ track });
    expect(rung.surface.srcObject).toBeNull();
    track.dispatchEvent(new Event('unmute'));
    expect(rung.surface.srcObject).not.toBeNull();
    ready.mockRestore();
  });

  it('shows the stream at once in a page that has loaded', async () => {
    vi.spyOn(document, 'readyState', 'get').mockReturnValue('complete');
    await connect();
    FakePeer.last.ontrack?.({ track: new EventTarget() });
    expect(rung.surface.srcObject).not.toBeNull();
  });

  it('says good-bye, closes everything and is silent then', async () => {
    await connect();
    const socket = FakeSocket.last;
    rung.stop();
    expect(socket.types().at(-1)).toBe('bye');
    expect(socket.closed).toBe(true);
    expect(rung.surface.srcObject).toBeNull();
    socket.onclose?.({ reason: '' });
    expect(said).toEqual([]);
  });

  it('says so when the browser has no WebRTC, but not from within start', async () => {
    vi.stubGlobal('RTCPeerConnection', undefined);
    rung.start();
    expect(said).toEqual([]);
    await settle();
    expect(said).toEqual(['down unsupported']);
  });
});
