import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClockSync } from './clock';
import { FakeMediaSource, segment, timeRanges } from './fake-mse';
import { MseRung } from './mse';
import { Urls } from './rung';
import type { ClientMessage } from './signal';

class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readyState = 0;
  sent: ClientMessage[] = [];
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((e: { data: unknown }) => void) | null = null;
  onclose: ((e: { reason: string }) => void) | null = null;

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }

  static get last(): FakeSocket {
    const s = FakeSocket.all.at(-1);
    if (!s) throw new Error('no socket');
    return s;
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
    this.onmessage?.({ data: message instanceof ArrayBuffer ? message : JSON.stringify(message) });
  }
}

const H264 = 'video/mp4; codecs="avc1.64001f"';

describe('MseRung', () => {
  let rung: MseRung;
  let said: string[];
  let clock: ClockSync;
  let frame: ((now: number, meta: { mediaTime: number; presentationTime: number }) => void) | null;
  let buffered: [number, number][];
  let play: () => Promise<void>;

  beforeEach(() => {
    vi.useFakeTimers();
    FakeSocket.all = [];
    FakeMediaSource.last = null;
    vi.stubGlobal('WebSocket', FakeSocket);
    vi.stubGlobal('MediaSource', FakeMediaSource);
    vi.spyOn(URL, 'createObjectURL').mockReturnValue('blob:x');
    said = [];
    clock = new ClockSync();
    buffered = [];
    play = () => Promise.resolve();
    rung = new MseRung({
      camera: 'door',
      url: new Urls('http://cam.test:8080', 'door', 'secret'),
      clock,
      stillsWidth: 0,
      events: {
        picture: () => said.push('picture'),
        source: (state, reason) => said.push(`${state} ${reason ?? ''}`.trim()),
        silenced: () => said.push('silenced'),
        down: (reason) => said.push(`down ${reason.code} ${reason.detail ?? ''}`.trim()),
      },
    });
    frame = null;
    Object.assign(rung.surface, {
      requestVideoFrameCallback: (call: typeof frame) => {
        frame = call;
        return 1;
      },
      cancelVideoFrameCallback: () => (frame = null),
      play: () => play(),
    });
    Object.defineProperty(rung.surface, 'buffered', { get: () => timeRanges(buffered) });
  });

  afterEach(() => {
    rung.stop();
    expect(vi.getTimerCount()).toBe(0);
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  function begin() {
    rung.start();
    FakeSocket.last.open();
    FakeSocket.last.say({ type: 'mime', mime: H264 });
    FakeMediaSource.last?.open();
  }

  it('asks for what the browser can play, and for no sound that nobody hears', () => {
    rung.start();
    const url = new URL(FakeSocket.last.url);
    expect(url.protocol + url.pathname).toBe('ws:/api/camera/mse/door');
    expect(Object.fromEntries(url.searchParams)).toEqual({
      token: 'secret',
      video: 'h264,av1,vp9',
      audio: 'opus,aac',
    });
  });

  it('fills the buffer and goes to the newest picture', () => {
    begin();
    FakeSocket.last.say(segment(0, 180_000, true));
    const buffer = FakeMediaSource.last?.buffer;
    expect(buffer?.mime).toBe(H264);
    buffered = [[0, 2]];
    buffer?.done();
    expect(rung.surface.currentTime).toBeGreaterThan(1.8);
    expect(rung.surface.currentTime).toBeLessThan(2);
  });

  it('tells the true delay, the codec and the state of the camera', async () => {
    begin();
    clock.add(0, 1_000_000, 0);
    FakeSocket.last.say({ type: 'state', state: 'lost', reason: 'unplugged' });
    FakeSocket.last.say({ type: 'time', media: 1, captured: 1_000_000 });
    FakeSocket.last.say({ type: 'time', media: 9, captured: 1_000_000 });
    frame?.(0, { mediaTime: 1.5, presentationTime: 620 });
    expect(said).toEqual(['lost unplugged', 'picture']);
    expect(await rung.stats()).toMatchObject({ delay: 120, codec: 'H264' });
  });

  it('switches the sound while the picture goes on, and makes a new buffer for it', () => {
    begin();
    rung.setMuted(false);
    expect(FakeSocket.last.sent).toContainEqual({ type: 'audio', on: true });
    const before = FakeMediaSource.last;
    FakeSocket.last.say({ type: 'mime', mime: 'video/mp4; codecs="avc1.64001f,opus"' });
    expect(FakeMediaSource.last).not.toBe(before);
    rung.setMuted(true);
    expect(FakeSocket.last.sent).toContainEqual({ type: 'audio', on: false });
    expect(FakeSocket.all).toHaveLength(1);
  });

  it('goes on without sound where the browser wants a gesture first', async () => {
    rung.setMuted(false);
    play = () => (rung.surface.muted ? Promise.resolve() : Promise.reject(new DOMException('no', 'NotAllowedError')));
    begin();
    expect(FakeSocket.last.url).toContain('sound=1');
    FakeSocket.last.say(segment(0, 3000, true));
    FakeMediaSource.last?.buffer?.done();
    await vi.advanceTimersByTimeAsync(0);
    expect(said).toEqual(['silenced']);
    expect(rung.surface.muted).toBe(true);
  });

  it('asks for plain H.264 when the browser cannot play this kind of the codec', () => {
    vi.stubGlobal(
      'MediaSource',
      class extends FakeMediaSource {
        static override isTypeSupported = (mime: string) => !mime.includes('avc1.6e') && !mime.includes('avc1.7a');
      },
    );
    rung.start();
    FakeSocket.last.open();
    const first = FakeSocket.last;
    first.say({ type: 'mime', mime: 'video/mp4; codecs="avc1.6e001f"' });
    expect(first.closed).toBe(true);
    expect(FakeSocket.last.url).toContain('video=none');
    FakeSocket.last.say({ type: 'mime', mime: 'video/mp4; codecs="avc1.7a001f"' });
    expect(said).toEqual(['down unsupported video/mp4; codecs="avc1.7a001f"']);
  });

  it.each([
    ['the server goes', () => FakeSocket.last.onclose?.({ reason: '' }), 'down signaling'],
    ['the server says why', () => FakeSocket.last.onclose?.({ reason: 'the server stops' }), 'down signaling the server stops'],
    ['nothing comes any more', () => vi.advanceTimersByTime(10_000), 'down silent'],
    ['a segment cannot be read', () => FakeMediaSource.last?.buffer?.dispatchEvent(new Event('error')), 'down decode a segment could not be read'],
  ])('gives up when %s', (_what, happens, want) => {
    begin();
    happens();
    expect(said).toEqual([want]);
  });

  it('keeps the last word of the server', () => {
    begin();
    FakeSocket.last.say({ type: 'error', code: 'removed', error: 'the camera was removed' });
    FakeSocket.last.onclose?.({ reason: 'bye' });
    expect(said).toEqual(['down refused the camera was removed']);
  });

  it('does not even try without Media Source Extensions', () => {
    vi.stubGlobal('MediaSource', undefined);
    rung.start();
    vi.advanceTimersByTime(0);
    expect(said).toEqual(['down unsupported']);
    expect(FakeSocket.all).toHaveLength(0);
  });

  it('says nothing after its end', () => {
    begin();
    rung.stop();
    expect(FakeSocket.last.closed).toBe(true);
    FakeMediaSource.last?.buffer?.dispatchEvent(new Event('error'));
    vi.advanceTimersByTime(60_000);
    expect(said).toEqual([]);
  });
});
