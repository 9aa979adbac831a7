import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fit } from './grabber';
import type { Grabber, Picture } from './grabber';
import { bitrate, refused } from './link';
import type { Link, LinkTarget } from './link';
import { SnapshotLink } from './snapshot';
import { StreamLink, complaint } from './stream';
import { FakeTrack } from './testing';
import { WhipLink } from './whip';
import type { WhipOptions } from './whip';

const target: LinkTarget = { id: 'mobile_a', takeover: false, url: (path) => new URL(path, 'https://cam:8443/') };
const takingOver: LinkTarget = { ...target, takeover: true };

class FakeGrabber implements Grabber {
  picture: Picture | null = { data: new Blob(['x'.repeat(1000)]), width: 640, height: 360 };
  asked: string[] = [];
  track: unknown = null;
  closed = false;

  setTrack(track: MediaStreamTrack | null) {
    this.track = track;
  }

  grab(longest: number, quality: number) {
    this.asked.push(`${longest} ${quality}`);
    return Promise.resolve(this.picture);
  }

  close() {
    this.closed = true;
  }
}

interface Call {
  readonly url: string;
  readonly method: string;
  readonly init: RequestInit;
  answer(response: Response): void;
  fail(): void;
}

let said: string[];
let calls: Call[];
let link: Link;
const track = new FakeTrack('video') as unknown as MediaStreamTrack;
const settle = () => vi.advanceTimersByTimeAsync(0);
const events = {
  up: () => said.push('up'),
  down: (reason: { code: string; detail?: string }) => said.push(`down ${reason.code} ${reason.detail ?? ''}`.trim()),
};

beforeEach(() => {
  vi.useFakeTimers();
  said = [];
  calls = [];
  vi.stubGlobal(
    'fetch',
    (url: string, init: RequestInit = {}) =>
      new Promise<Response>((resolve, reject) => {
        const fail = () => reject(new TypeError('failed'));
        calls.push({ url, method: init.method ?? 'GET', init, answer: resolve, fail });
        init.signal?.addEventListener('abort', fail);
      }),
  );
});

afterEach(async () => {
  link?.stop();
  await settle();
  expect(vi.getTimerCount()).toBe(0);
  const before = said.length;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(said).toHaveLength(before);
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const error = (status: number, message: string) => Response.json({ error: message }, { status });

describe('refused', () => {
  it.each([
    [401, false, 'unauthorized'],
    [403, false, 'forbidden'],
    [409, false, 'busy'],
    [409, true, 'refused'],
    [415, false, 'unsupported'],
    [503, false, 'full'],
    [502, false, 'unreachable'],
    [413, false, 'refused'],
  ])('%i, take-over %s: %s', async (status, takeover, code) => {
    link = undefined as unknown as Link;
    expect(await refused(error(status, 'why'), takeover)).toEqual({ code, detail: 'why' });
  });
});

describe('sizes and rates', () => {
  it('never makes a picture larger, and keeps its shape', () => {
    link = undefined as unknown as Link;
    expect(fit(1920, 1080, 640)).toEqual({ width: 640, height: 360 });
    expect(fit(1080, 1920, 640)).toEqual({ width: 360, height: 640 });
    expect(fit(320, 240, 640)).toEqual({ width: 320, height: 240 });
    expect(fit(0, 0, 640)).toEqual({ width: 1, height: 1 });
    expect(bitrate('medium', 1280)).toBe(2_765_000);
    expect(bitrate('low', 640)).toBeLessThan(bitrate('high', 640));
  });
});

class FakePeer {
  static last: FakePeer;
  iceGatheringState = 'new';
  connectionState = 'new';
  localDescription: { sdp: string } | null = null;
  onicegatheringstatechange: (() => void) | null = null;
  onconnectionstatechange: (() => void) | null = null;
  transceivers: {
    track: unknown;
    init: RTCRtpTransceiverInit;
    currentDirection: string;
    preferences?: string[];
    setCodecPreferences(c: { mimeType: string }[]): void;
    sender: { track: unknown; parameters: { encodings: RTCRtpEncodingParameters[] } } & Record<string, unknown>;
  }[] = [];
  closed = false;
  remote = '';

  constructor(readonly config: RTCConfiguration) {
    FakePeer.last = this;
  }

  addTransceiver(trackOf: unknown, init: RTCRtpTransceiverInit) {
    const parameters = { encodings: (init.sendEncodings ?? []).map((e) => ({ ...e })) };
    const sender = {
      track: trackOf,
      parameters,
      replaceTrack: (t: unknown) => ((sender.track = t), Promise.resolve()),
      getParameters: () => structuredClone(parameters),
      setParameters: (p: typeof parameters) => ((parameters.encodings = p.encodings), Promise.resolve()),
    };
    const transceiver: FakePeer['transceivers'][number] = {
      track: trackOf,
      init,
      currentDirection: '',
      setCodecPreferences(c) {
        this.preferences = c.map((x) => x.mimeType);
      },
      sender,
    };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  getTransceivers() {
    return this.transceivers;
  }

  createOffer() {
    return Promise.resolve({ type: 'offer', sdp: 'offer' });
  }

  setLocalDescription() {
    this.localDescription = { sdp: 'offer with few candidates' };
    return Promise.resolve();
  }

  setRemoteDescription(answer: { sdp: string }) {
    this.remote = answer.sdp;
    for (const t of this.transceivers) t.currentDirection = answer.sdp === 'refusing' ? 'inactive' : 'sendonly';
    return answer.sdp === 'bad' ? Promise.reject(new Error('bad SDP')) : Promise.resolve();
  }

  getStats() {
    return Promise.resolve(
      new Map<string, unknown>([
        ['low', { type: 'outbound-rtp', kind: 'video', bytesSent: 100, framesSent: 7, frameWidth: 320, frameHeight: 180 }],
        ['full', { type: 'outbound-rtp', kind: 'video', bytesSent: 900, framesSent: 9, frameWidth: 1280, frameHeight: 720, codecId: 'c', qualityLimitationReason: 'cpu' }],
        ['sound', { type: 'outbound-rtp', kind: 'audio', bytesSent: 30 }],
        ['far', { type: 'remote-inbound-rtp', kind: 'video', fractionLost: 0.02 }],
        ['p', { type: 'candidate-pair', nominated: true, state: 'succeeded', currentRoundTripTime: 0.004 }],
        ['c', { type: 'codec', mimeType: 'video/H264' }],
      ]),
    );
  }

  close() {
    this.closed = true;
  }

  gathered() {
    this.iceGatheringState = 'complete';
    if (this.localDescription) this.localDescription = { sdp: 'offer with all candidates' };
    this.onicegatheringstatechange?.();
  }

  become(state: string) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
}

describe('WhipLink', () => {
  let sessions: Map<string, Promise<void> | null>;

  beforeEach(() => {
    sessions = new Map();
    vi.stubGlobal('RTCPeerConnection', FakePeer);
    vi.stubGlobal('RTCRtpSender', {
      getCapabilities: () => ({ codecs: ['video/VP8', 'video/H264', 'video/rtx', 'video/h264'].map((mimeType) => ({ mimeType })) }),
    });
  });

  function make(to = target, options: Partial<WhipOptions> = {}) {
    link = new WhipLink(to, { video: track, audio: null, quality: 'medium', resolution: 1280, simulcast: false, sessions, ...options }, events);
    link.start();
  }

  const created = (sdp = 'answer') =>
    new Response(sdp, { status: 201, headers: { Location: '/whip/mobile_a/s1', 'Content-Type': 'application/sdp' } });

  async function offered(to = target, options: Partial<WhipOptions> = {}) {
    make(to, options);
    await settle();
    FakePeer.last.gathered();
    await settle();
  }

  async function live() {
    await offered();
    calls[0]?.answer(created());
    await settle();
    FakePeer.last.become('connected');
  }

  it('posts one offer with its candidates, H.264 first, and is up with the connection', async () => {
    await offered();
    expect(calls.map((c) => `${c.method} ${c.url}`)).toEqual(['POST https://cam:8443/whip/mobile_a']);
    expect(calls[0]?.init.headers).toEqual({ 'Content-Type': 'application/sdp' });
    expect(calls[0]?.init.body).toBe('offer with all candidates');
    const video = FakePeer.last.transceivers[0];
    expect(video?.init).toEqual({ direction: 'sendonly', sendEncodings: [{ maxBitrate: 2_765_000 }] });
    expect(video?.preferences).toEqual(['video/H264', 'video/h264', 'video/VP8', 'video/rtx']);
    expect(FakePeer.last.transceivers).toHaveLength(1);
    expect(FakePeer.last.config.iceServers).toBeUndefined();
    calls[0]?.answer(created());
    await settle();
    expect(FakePeer.last.remote).toBe('answer');
    expect(said).toEqual([]);
    FakePeer.last.become('connected');
    expect(said).toEqual(['up']);
    expect(link.alive()).toBe(true);
    expect([...sessions.keys()]).toEqual(['https://cam:8443/whip/mobile_a/s1']);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(said).toEqual(['up']);
  });

  it('does not wait for candidates longer than half a second', async () => {
    make();
    await vi.advanceTimersByTimeAsync(499);
    expect(calls).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(calls[0]?.init.body).toBe('offer with few candidates');
  });

  it('deletes its session at the end', async () => {
    await live();
    link.stop();
    expect(calls.at(-1)).toMatchObject({ method: 'DELETE', url: 'https://cam:8443/whip/mobile_a/s1' });
    expect(calls.at(-1)?.init.keepalive).toBe(true);
    expect(FakePeer.last.closed).toBe(true);
    calls.at(-1)?.answer(new Response(null, { status: 200 }));
    await settle();
    expect(sessions.size).toBe(0);
  });

  it('remembers a session that could not be deleted, and deletes it before it offers again', async () => {
    await live();
    link.stop();
    calls.at(-1)?.fail();
    await settle();
    expect(sessions.size).toBe(1);
    await offered();
    expect(calls.map((c) => c.method)).toEqual(['POST', 'DELETE', 'DELETE']);
    calls[2]?.answer(error(404, 'no such session'));
    await settle();
    expect(calls.at(-1)?.method).toBe('POST');
    expect(sessions.size).toBe(0);
  });

  it('waits for the good-bye that is on its way, and does not say it twice', async () => {
    await live();
    link.stop();
    await offered();
    expect(calls.map((c) => c.method)).toEqual(['POST', 'DELETE']);
    calls[1]?.answer(new Response(null, { status: 200 }));
    await settle();
    expect(calls.map((c) => c.method)).toEqual(['POST', 'DELETE', 'POST']);
  });

  it('does not wait for a server that does not let go', async () => {
    sessions.set('https://cam:8443/whip/mobile_a/old', null);
    await offered();
    expect(calls.map((c) => c.method)).toEqual(['DELETE']);
    await vi.advanceTimersByTimeAsync(3000);
    expect(calls.map((c) => c.method)).toEqual(['DELETE', 'POST']);
    // It may be our own session that is in the way.
    calls[1]?.answer(error(409, 'in use'));
    await settle();
    expect(said).toEqual(['down closed in use']);
  });

  it('asks to take over only when told to', async () => {
    await offered(takingOver);
    expect(calls[0]?.url).toBe('https://cam:8443/whip/mobile_a?takeover=1');
  });

  it.each([
    [401, 'down unauthorized no'],
    [409, 'down busy no'],
    [415, 'down unsupported no'],
    [503, 'down full no'],
  ])('passes on what %i means', async (status, words) => {
    await offered();
    calls[0]?.answer(error(status, 'no'));
    await settle();
    expect(said).toEqual([words]);
  });

  it.each([
    ['refusing', 'down unsupported'],
    ['bad', 'down broken bad SDP'],
  ])('reports an answer that is %s', async (sdp, words) => {
    await offered();
    calls[0]?.answer(created(sdp));
    await settle();
    expect(said).toEqual([words]);
    expect(sessions.size).toBe(1);
  });

  it('reports a server that does not answer, in time', async () => {
    await offered();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(said).toEqual(['down unreachable']);
  });

  it('reports a network that lets nothing through', async () => {
    await offered();
    calls[0]?.answer(created());
    await vi.advanceTimersByTimeAsync(15_000);
    expect(said).toEqual(['down ice']);
  });

  it('bears a short disconnection, not a longer one', async () => {
    await live();
    FakePeer.last.become('disconnected');
    await vi.advanceTimersByTimeAsync(2400);
    FakePeer.last.become('connected');
    await vi.advanceTimersByTimeAsync(5000);
    expect(said).toEqual(['up']);
    FakePeer.last.become('disconnected');
    expect(link.alive()).toBe(false);
    await vi.advanceTimersByTimeAsync(2500);
    expect(said).toEqual(['up', 'down ice']);
  });

  it('notices that the server said good-bye', async () => {
    await live();
    FakePeer.last.become('closed');
    expect(said).toEqual(['up', 'down closed']);
  });

  it('changes camera, sound and quality without another offer', async () => {
    const sound = new FakeTrack('audio') as unknown as MediaStreamTrack;
    await offered(target, { audio: sound, simulcast: true });
    calls[0]?.answer(created());
    await settle();
    const other = new FakeTrack('video') as unknown as MediaStreamTrack;
    await link.setVideo(other);
    const [video, audio] = FakePeer.last.transceivers;
    expect(video?.sender.track).toBe(other);
    expect(await link.setAudio(null)).toBe(true);
    expect(audio?.sender.track).toBeNull();
    link.setQuality('low', 640);
    expect(video?.sender.parameters.encodings).toEqual([
      { rid: 'low', scaleResolutionDownBy: 4, maxBitrate: 100_000 },
      { rid: 'full', scaleResolutionDownBy: 1, maxBitrate: 311_000 },
    ]);
    expect(calls).toHaveLength(1);
  });

  it('cannot add sound that it did not offer', async () => {
    await live();
    expect(await link.setAudio(null)).toBe(true);
    expect(await link.setAudio(new FakeTrack('audio') as unknown as MediaStreamTrack)).toBe(false);
  });

  it('tells the numbers of all renderings together', async () => {
    await live();
    expect(await link.stats()).toMatchObject({
      frames: 9, bytes: 1030, width: 1280, height: 720, codec: 'H264', limit: 'cpu', rtt: 4, loss: 0.02,
    });
  });

  it('can be stopped at any moment', async () => {
    make();
    link.stop();
    await settle();
    expect(calls).toEqual([]);
    expect(said).toEqual([]);
  });

  it('says so when the browser has no WebRTC, but not from within start', async () => {
    vi.stubGlobal('RTCPeerConnection', undefined);
    make();
    expect(said).toEqual([]);
    await settle();
    expect(said).toEqual(['down unsupported']);
  });
});

class FakeSocket {
  static readonly OPEN = 1;
  static last: FakeSocket;
  readyState = 0;
  bufferedAmount = 0;
  sent: Blob[] = [];
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((e: { data: unknown }) => void) | null = null;
  onclose: ((e: { reason: string }) => void) | null = null;

  constructor(readonly url: string) {
    FakeSocket.last = this;
  }

  send(data: Blob) {
    this.sent.push(data);
  }

  close() {
    this.closed = true;
  }

  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  complain(message: string) {
    this.onmessage?.({ data: JSON.stringify({ type: 'error', message }) });
  }
}

describe('StreamLink', () => {
  let grabber: FakeGrabber;

  beforeEach(() => {
    vi.stubGlobal('WebSocket', FakeSocket);
    grabber = new FakeGrabber();
  });

  function make(to = target) {
    link = new StreamLink(to, { grabber, track, quality: 'medium', resolution: 1280 }, events);
    link.start();
  }

  it('sends ten pictures a second, and is up when the first has left', async () => {
    make();
    expect(FakeSocket.last.url).toBe('wss://cam:8443/api/camera/stream/mobile_a');
    FakeSocket.last.open();
    await settle();
    expect(FakeSocket.last.sent).toHaveLength(1);
    expect(said).toEqual([]);
    await vi.advanceTimersByTimeAsync(1950);
    expect(said).toEqual(['up']);
    expect(FakeSocket.last.sent).toHaveLength(20);
    expect(grabber.asked[0]).toBe('1280 0.7');
    const stats = await link.stats();
    expect(stats).toMatchObject({ frames: 20, bytes: 20_000, width: 640, height: 360, codec: 'JPEG' });
    expect(stats.fps).toBeCloseTo(10, 0);
  });

  it('lets one picture wait behind another, not more', async () => {
    make();
    FakeSocket.last.open();
    await settle();
    FakeSocket.last.bufferedAmount = 1000;
    await vi.advanceTimersByTimeAsync(100);
    expect(FakeSocket.last.sent).toHaveLength(2);
    FakeSocket.last.bufferedAmount = 2000;
    await vi.advanceTimersByTimeAsync(1000);
    expect(FakeSocket.last.sent).toHaveLength(2);
    FakeSocket.last.bufferedAmount = 900;
    await vi.advanceTimersByTimeAsync(100);
    expect(FakeSocket.last.sent).toHaveLength(3);
  });

  it('notices a connection that has died without a word', async () => {
    make();
    FakeSocket.last.open();
    await settle();
    FakeSocket.last.bufferedAmount = 5000;
    await vi.advanceTimersByTimeAsync(6500);
    expect(said).toEqual(['down unreachable']);
  });

  it('waits for a camera that has no picture yet', async () => {
    grabber.picture = null;
    make();
    FakeSocket.last.open();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(FakeSocket.last.sent).toHaveLength(0);
    expect(said).toEqual([]);
  });

  it.each([
    [409, 'in use', 'down busy in use'],
    [403, 'not you', 'down forbidden not you'],
    [426, 'no WebSocket', 'down unreachable'],
  ])('asks by HTTP why it was refused: %i', async (status, message, words) => {
    make();
    FakeSocket.last.onclose?.({ reason: '' });
    expect(calls[0]?.url).toBe('https://cam:8443/api/camera/stream/mobile_a');
    calls[0]?.answer(error(status, message));
    await settle();
    expect(said).toEqual([words]);
  });

  it('is done when nobody answers at all', async () => {
    make();
    FakeSocket.last.onclose?.({ reason: '' });
    calls[0]?.fail();
    await settle();
    expect(said).toEqual(['down unreachable']);
  });

  it('bears a complaint about one picture, not about all', async () => {
    make();
    FakeSocket.last.open();
    await settle();
    FakeSocket.last.complain('picture skipped: odd');
    await vi.advanceTimersByTimeAsync(6000);
    FakeSocket.last.complain('picture skipped: odd');
    expect(said).toEqual(['up']);
    await vi.advanceTimersByTimeAsync(1000);
    FakeSocket.last.complain('picture skipped: taken');
    await vi.advanceTimersByTimeAsync(1000);
    FakeSocket.last.complain('picture skipped: taken');
    expect(said).toEqual(['up', 'down refused picture skipped: taken']);
  });

  it('passes on why the server ended it', async () => {
    make();
    FakeSocket.last.open();
    await settle();
    FakeSocket.last.onclose?.({ reason: 'the server stops' });
    expect(said).toEqual(['down closed the server stops']);
  });

  it('measures the way there and back', async () => {
    make();
    FakeSocket.last.open();
    await vi.advanceTimersByTimeAsync(7);
    expect(calls[0]?.url).toBe('https://cam:8443/healthz');
    calls[0]?.answer(new Response('{}'));
    await settle();
    expect((await link.stats()).rtt).toBe(7);
  });

  it('releases everything', async () => {
    make();
    FakeSocket.last.open();
    await settle();
    link.stop();
    expect(FakeSocket.last.closed).toBe(true);
    expect(grabber.closed).toBe(true);
  });
});

describe('complaint', () => {
  it.each([
    ['{"type":"error","message":"why"}', 'why'],
    ['{"type":"other"}', null],
    ['nonsense', null],
    ['null', null],
    [new ArrayBuffer(1), null],
  ])('%j', (data, words) => {
    link = undefined as unknown as Link;
    expect(complaint(data)).toBe(words);
  });
});

describe('SnapshotLink', () => {
  let grabber: FakeGrabber;

  function make() {
    grabber = new FakeGrabber();
    const made = new SnapshotLink(target, { grabber, track, quality: 'high', resolution: 1920, interval: 5 }, events);
    link = made;
    link.start();
    return made;
  }

  const ok = () => Response.json({ status: 'ok', size_bytes: 1000 });

  it('posts a picture every few seconds, counted from the one before', async () => {
    make();
    await settle();
    expect(calls[0]).toMatchObject({ method: 'POST', url: 'https://cam:8443/api/camera/frame' });
    const form = calls[0]?.init.body as FormData;
    expect([...form.keys()]).toEqual(['device_id', 'image']);
    expect(form.get('device_id')).toBe('mobile_a');
    await vi.advanceTimersByTimeAsync(2000);
    calls[0]?.answer(ok());
    await settle();
    expect(said).toEqual(['up']);
    await vi.advanceTimersByTimeAsync(2999);
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(calls).toHaveLength(2);
    expect(await link.stats()).toMatchObject({ frames: 1, bytes: 1000, rtt: 2000 });
  });

  it('never has two on the way', async () => {
    make();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(5000);
    expect(said).toEqual(['down unreachable']);
    expect(link.alive()).toBe(false);
  });

  it('follows another pace at once', async () => {
    const made = make();
    await settle();
    calls[0]?.answer(ok());
    await vi.advanceTimersByTimeAsync(1500);
    made.setPace(1);
    await settle();
    expect(calls).toHaveLength(2);
    calls[1]?.answer(ok());
    await settle();
    made.setPace(30);
    await vi.advanceTimersByTimeAsync(29_900);
    expect(calls).toHaveLength(2);
  });

  it('says what the server said', async () => {
    make();
    await settle();
    calls[0]?.answer(error(403, 'not under this name'));
    await settle();
    expect(said).toEqual(['down forbidden not under this name']);
  });

  it('waits for the first picture of a camera that has just been opened', async () => {
    make();
    grabber.picture = null;
    await vi.advanceTimersByTimeAsync(0);
    const { data } = new FakeGrabber().picture as Picture;
    grabber.picture = { data, width: 4, height: 3 };
    await vi.advanceTimersByTimeAsync(200);
    expect(calls.length).toBeGreaterThan(0);
  });
});
