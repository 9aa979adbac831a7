import { SegmentBuffer, canPlay } from './buffer';
import { DelayMeter, Meter } from './clock';
import { LiveEdge } from './edge';
import { parseFragment } from './fragment';
import type { Rung, RungContext } from './rung';
import { errorReason, parseServerMessage } from './signal';
import type { ClientMessage, ServerMessage } from './signal';
import { put } from './types';
import type { PlayerStats, Reason } from './types';

/** No word for so long (ms) means that the server is gone. */
const SILENCE_LIMIT = 6000;
const QUICK_PINGS = [0, 60, 150, 300, 600];
const PING_INTERVAL = 2000;
/** How often the distance to the newest picture is looked at, ms. */
const LOOK = 100;
/** A standstill so soon (ms) after a jump is the jump's. */
const AFTER_JUMP = 500;
/** So many of the server's marks are remembered: what is on the screen may be older than the newest. */
const MARKS = 8;

/** One codec string each that stands for what the server may send. */
const VIDEO = {
  h264: 'avc1.640028',
  h265: 'hvc1.1.6.L120.90',
  av1: 'av01.0.08M.08',
  vp9: 'vp09.00.40.08',
} as const;
const AUDIO = { opus: 'opus', aac: 'mp4a.40.2' } as const;

/** What this browser plays out of an MP4, as the server wants it written: "h264,av1", or "none". */
export function playable(kinds: Readonly<Record<string, string>>): string {
  const names = Object.keys(kinds).filter((name) => canPlay(`video/mp4; codecs="${kinds[name] ?? ''}"`));
  return names.join(',') || 'none';
}

interface Mark {
  /** Seconds of media time. */
  readonly media: number;
  /** Unix ms. */
  readonly captured: number;
}

/**
 * Pictures by Media Source Extensions: the camera's own coding in fragments of
 * one picture each, over a WebSocket. For networks through which no UDP goes.
 */
export class MseRung implements Rung {
  readonly name = 'mse';
  readonly surface: HTMLVideoElement;
  readonly #ctx: RungContext;
  readonly #delay: DelayMeter;
  readonly #edge = new LiveEdge();
  readonly #pictures = new Meter();
  readonly #bytes = new Meter();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #leave = new AbortController();
  #socket: WebSocket | null = null;
  #buffer: SegmentBuffer | null = null;
  #mime = '';
  #marks: Mark[] = [];
  #heardAt = 0;
  #sound = false;
  /** The server is asked for what every browser can play. */
  #plain = false;
  #stopped = false;
  #finished = false;
  #complaint: Reason | null = null;
  #jumpedAt = -Infinity;
  #frameCallback = 0;
  #counted = 0;

  constructor(ctx: RungContext) {
    this.#ctx = ctx;
    this.#delay = new DelayMeter(ctx.clock);
    this.surface = document.createElement('video');
    this.surface.muted = true;
    this.surface.playsInline = true;
    // The managed kind of source insists on it.
    this.surface.disableRemotePlayback = true;
  }

  start(): void {
    const none = playable({ h264: 'avc1.42e01f' }) === 'none';
    if (none || typeof WebSocket === 'undefined') {
      this.#later(() => this.#down({ code: 'unsupported' }), 0);
      return;
    }
    const { signal } = this.#leave;
    this.surface.addEventListener('waiting', () => this.#stood(), { signal });
    this.surface.addEventListener('error', () => this.#failed(), { signal });
    this.#connect();
    this.#watchFrames();
    this.#later(() => this.#keepLook(), LOOK);
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#leave.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    if (this.#frameCallback && 'cancelVideoFrameCallback' in this.surface) {
      this.surface.cancelVideoFrameCallback(this.#frameCallback);
    }
    this.#disconnect();
    this.#buffer?.close();
    this.#buffer = null;
  }

  setMuted(muted: boolean): void {
    this.surface.muted = muted;
    if (this.#sound === !muted) return;
    this.#sound = !muted;
    // Sound takes a buffer of another kind, so it comes only when it is heard.
    this.#send({ type: 'audio', on: this.#sound });
  }

  stats(): Promise<PlayerStats> {
    const now = performance.now();
    const stats: PlayerStats = {};
    put(stats, 'delay', this.#delay.value);
    put(stats, 'rtt', this.#ctx.clock.rtt);
    put(stats, 'codec', codecName(this.#mime));
    put(stats, 'width', this.surface.videoWidth || undefined);
    put(stats, 'height', this.surface.videoHeight || undefined);
    put(stats, 'fps', this.#pictures.rate(now));
    const rate = this.#bytes.rate(now);
    put(stats, 'bitrate', rate === undefined ? undefined : rate * 8);
    put(stats, 'lost', this.surface.getVideoPlaybackQuality?.().droppedVideoFrames);
    return Promise.resolve(stats);
  }

  #connect(): void {
    const socket = new WebSocket(
      this.#ctx.url.mse({
        video: this.#plain ? 'none' : playable(VIDEO),
        audio: playable(AUDIO),
        sound: this.#sound,
      }),
    );
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      this.#heardAt = performance.now();
      for (const wait of QUICK_PINGS) this.#later(() => this.#ping(), wait);
      this.#later(() => this.#keepPinging(socket), PING_INTERVAL);
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => {
      const reason: Reason = event.reason ? { code: 'signaling', detail: event.reason } : { code: 'signaling' };
      this.#down(this.#complaint ?? reason);
    };
    this.#socket = socket;
  }

  #disconnect(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
  }

  #receive(data: unknown): void {
    this.#heardAt = performance.now();
    if (this.#stopped) return;
    if (data instanceof ArrayBuffer) {
      this.#segment(data);
      return;
    }
    const message = parseServerMessage(data);
    if (message) this.#hear(message);
  }

  #hear(message: ServerMessage): void {
    switch (message.type) {
      case 'mime':
        this.#begin(message.mime);
        break;
      case 'time':
        this.#marks.push(message);
        if (this.#marks.length > MARKS) this.#marks.shift();
        break;
      case 'pong':
        this.#ctx.clock.add(message.t, message.server, performance.now());
        break;
      case 'state':
        this.#ctx.events.source(message.state, message.reason);
        break;
      case 'error':
        this.#complaint = errorReason(message);
        break;
    }
  }

  /** Makes a new buffer; the last picture stays until its first one. */
  #begin(mime: string): void {
    this.#buffer?.close();
    this.#buffer = null;
    this.#marks = [];
    this.#mime = mime;
    if (!canPlay(mime)) {
      if (this.#plain) this.#down({ code: 'unsupported', detail: mime });
      else this.#askPlain();
      return;
    }
    try {
      this.#buffer = new SegmentBuffer(this.surface, mime, {
        grown: () => this.#grown(),
        broken: (reason) => this.#down(reason),
      });
    } catch (err) {
      this.#down({ code: 'decode', detail: err instanceof Error ? err.message : String(err) });
    }
  }

  /** The browser knows the codec, but not this kind of it (10 bits, say). */
  #askPlain(): void {
    this.#plain = true;
    this.#disconnect();
    this.#connect();
  }

  #segment(data: ArrayBuffer): void {
    this.#bytes.add(performance.now(), data.byteLength);
    const fragment = parseFragment(data);
    this.#buffer?.push(data, fragment?.key ? fragment.start : undefined);
  }

  #grown(): void {
    this.#look();
    if (!this.surface.paused) return;
    this.surface.play().catch((err: unknown) => this.#notPlaying(err));
  }

  /** Without a gesture browsers start no sound: a silent picture is better than none. */
  #notPlaying(err: unknown): void {
    const refused = err instanceof DOMException && err.name === 'NotAllowedError';
    if (this.#stopped || !refused || this.surface.muted) return;
    this.setMuted(true);
    this.#ctx.events.silenced?.();
    this.surface.play().catch(() => undefined);
  }

  /** A jump makes the picture wait as well, and says nothing of the network. */
  #stood(): void {
    const now = performance.now();
    if (!this.surface.seeking && now - this.#jumpedAt > AFTER_JUMP) this.#edge.stood(now);
  }

  #look(): void {
    const { surface } = this;
    const buffer = this.#buffer;
    if (!buffer || surface.seeking) return;
    const place = { current: surface.currentTime, ranges: buffer.ranges() };
    const move = this.#edge.move(place, performance.now(), surface.muted);
    if (move.seek !== undefined) {
      this.#jumpedAt = performance.now();
      surface.currentTime = move.seek;
    }
    if (Math.abs(surface.playbackRate - move.rate) > 0.01) surface.playbackRate = move.rate;
  }

  #keepLook(): void {
    this.#look();
    this.#later(() => this.#keepLook(), LOOK);
  }

  #failed(): void {
    // Taking the source away is an error too, as the element sees it.
    if (!this.#buffer || !this.surface.error) return;
    this.#down({ code: 'decode', detail: this.surface.error.message });
  }

  #send(message: ClientMessage): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #ping(): void {
    this.#send({ type: 'ping', t: performance.now() });
  }

  #keepPinging(socket: WebSocket): void {
    if (socket !== this.#socket) return;
    if (performance.now() - this.#heardAt > SILENCE_LIMIT) {
      this.#down({ code: 'silent' });
      return;
    }
    this.#ping();
    this.#later(() => this.#keepPinging(socket), PING_INTERVAL);
  }

  #watchFrames(): void {
    if (!('requestVideoFrameCallback' in this.surface)) {
      this.#countFrames();
      return;
    }
    const next = () => {
      this.#frameCallback = this.surface.requestVideoFrameCallback((_now, meta) => {
        if (this.#stopped) return;
        const mark = this.#marks.findLast((m) => m.media <= meta.mediaTime + 0.001) ?? this.#marks[0];
        if (mark) this.#delay.add(mark.captured + (meta.mediaTime - mark.media) * 1000, meta.presentationTime);
        this.#shown();
        next();
      });
    };
    next();
  }

  /** For browsers without frame callbacks: the counter tells, four times a second. */
  #countFrames(): void {
    const count = (this.surface as HTMLVideoElement).getVideoPlaybackQuality().totalVideoFrames;
    if (count > this.#counted) this.#shown();
    this.#counted = count;
    this.#later(() => this.#countFrames(), 250);
  }

  #shown(): void {
    this.#pictures.add(performance.now());
    this.#ctx.events.picture();
  }

  #down(reason: Reason): void {
    if (this.#stopped || this.#finished) return;
    this.#finished = true;
    this.#ctx.events.down(reason);
  }

  #later(what: () => void, wait: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#stopped) what();
    }, wait);
    this.#timers.add(timer);
  }
}

const NAMES: readonly (readonly [prefix: string, name: string])[] = [
  ['avc', 'H264'],
  ['hvc', 'H265'],
  ['hev', 'H265'],
  ['vp09', 'VP9'],
  ['av01', 'AV1'],
];

/** The video codec of a MIME type as the RTP registry writes it. */
function codecName(mime: string): string | undefined {
  const codec = /codecs="([^",]+)/.exec(mime)?.[1] ?? '';
  return NAMES.find(([prefix]) => codec.startsWith(prefix))?.[1];
}
