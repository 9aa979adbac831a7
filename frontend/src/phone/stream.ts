import { Meter } from '../player/clock';
import type { Grabber } from './grabber';
import { jpegQuality, refused, words } from './link';
import type { Link, LinkEvents, LinkTarget } from './link';
import { because } from './types';
import type { PublishReason, PublisherStats, Quality } from './types';

/** Ms between two pictures: 10 a second. */
const PACE = 100;
/** So long (ms) nothing left the device: the connection is gone without a word. */
const STUCK_LIMIT = 6000;
/** Ms between two measurements of the way there and back. */
const PING_INTERVAL = 5000;
/** So many complaints within a while (ms) mean that no picture gets through. */
const COMPLAINTS = 3;
const COMPLAINT_WINDOW = 5000;
/** A socket that does not open within so many ms never will. */
const OPEN_LIMIT = 10_000;

export interface PictureOptions {
  readonly grabber: Grabber;
  readonly track: MediaStreamTrack | null;
  readonly quality: Quality;
  readonly resolution: number;
}

/** What the two ways of sending single pictures have in common. */
export abstract class PictureLink implements Link {
  protected readonly target: LinkTarget;
  protected readonly grabber: Grabber;
  protected readonly abort = new AbortController();
  protected stopped = false;
  protected quality: number;
  protected longest: number;
  readonly #events: LinkEvents;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #pictures = new Meter();
  readonly #bits = new Meter();
  #finished = false;
  #up = false;
  #sent: PublisherStats = { frames: 0, bytes: 0 };

  constructor(target: LinkTarget, options: PictureOptions, events: LinkEvents) {
    this.target = target;
    this.grabber = options.grabber;
    this.grabber.setTrack(options.track);
    this.quality = jpegQuality(options.quality);
    this.longest = options.resolution;
    this.#events = events;
  }

  abstract start(): void;
  abstract alive(): boolean;

  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    this.abort.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.grabber.close();
  }

  setVideo(track: MediaStreamTrack | null): Promise<void> {
    this.grabber.setTrack(track);
    return Promise.resolve();
  }

  /** There is no sound in a picture, so there is nothing to change. */
  setAudio(): Promise<boolean> {
    return Promise.resolve(true);
  }

  setQuality(quality: Quality, resolution: number): void {
    this.quality = jpegQuality(quality);
    this.longest = resolution;
  }

  stats(): Promise<PublisherStats> {
    const stats: PublisherStats = { ...this.#sent, codec: 'JPEG' };
    const now = performance.now();
    const fps = this.#pictures.rate(now);
    const bits = this.#bits.rate(now);
    if (fps !== undefined) stats.fps = fps;
    if (bits !== undefined) stats.bitrate = bits;
    return Promise.resolve(stats);
  }

  protected up(): void {
    if (this.stopped || this.#finished || this.#up) return;
    this.#up = true;
    this.#events.up();
  }

  protected down(reason: PublishReason): void {
    if (this.stopped || this.#finished) return;
    this.#finished = true;
    this.#events.down(reason);
  }

  protected count(size: number, width: number, height: number): void {
    const now = performance.now();
    this.#pictures.add(now);
    this.#bits.add(now, size * 8);
    this.#sent = { ...this.#sent, frames: this.#sent.frames + 1, bytes: this.#sent.bytes + size, width, height };
  }

  /** The round trip of an exchange. */
  protected measured(rtt: number): void {
    this.#sent = { ...this.#sent, rtt };
  }

  protected later(what: () => void, wait: number): ReturnType<typeof setTimeout> {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.stopped) what();
    }, wait);
    this.#timers.add(timer);
    return timer;
  }

  /** Aborts after so many ms, or when the link stops. */
  protected within(limit: number): AbortSignal {
    const abort = new AbortController();
    this.abort.signal.addEventListener('abort', () => abort.abort());
    this.later(() => abort.abort(), limit);
    return abort.signal;
  }

  /** The newest picture; a browser that cannot make one ends the link. */
  protected async grab() {
    try {
      return await this.grabber.grab(this.longest, this.quality);
    } catch (err) {
      this.down(because('broken', words(err)));
      return null;
    }
  }
}

/** Sends ten JPEG pictures a second over a WebSocket, fewer when the network takes fewer. */
export class StreamLink extends PictureLink {
  #socket: WebSocket | null = null;
  #opened = false;
  #grabbing = false;
  #lastSize = 0;
  #waiting = 0;
  #movedAt = 0;
  #due = 0;
  readonly #complaints: number[] = [];

  start(): void {
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.#address('ws'));
    } catch (err) {
      this.later(() => this.down(because('broken', words(err))), 0);
      return;
    }
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.later(() => this.#opened || this.down(because('unreachable')), OPEN_LIMIT);
    socket.onopen = () => {
      this.#opened = true;
      this.#movedAt = this.#due = performance.now();
      this.#tick();
      this.#ping();
    };
    socket.onmessage = (event) => this.#heard(event.data);
    socket.onclose = (event) => {
      if (this.#opened) this.down(because('closed', event.reason));
      else void this.#ask();
    };
  }

  override stop(): void {
    super.stop();
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  alive(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  #address(scheme: 'ws' | 'http'): string {
    const url = this.target.url(`api/camera/stream/${encodeURIComponent(this.target.id)}`);
    if (this.target.takeover) url.searchParams.set('takeover', '1');
    if (scheme === 'ws') url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    return url.href;
  }

  /** A script does not learn why a socket was refused. The same address by plain HTTP tells. */
  async #ask(): Promise<void> {
    try {
      const response = await fetch(this.#address('http'), {
        credentials: 'include',
        cache: 'no-store',
        signal: this.within(OPEN_LIMIT),
      });
      // Upgrade Required: there is nothing but the missing WebSocket to complain about.
      if (response.status === 426) this.down(because('unreachable'));
      else this.down(await refused(response, this.target.takeover));
    } catch {
      this.down(because('unreachable'));
    }
  }

  #tick(): void {
    const socket = this.#socket;
    if (!socket) return;
    const now = performance.now();
    // Late timers must not be made up for by a burst.
    this.#due = Math.max(this.#due + PACE, now);
    this.later(() => this.#tick(), this.#due - now);
    if (socket.readyState !== WebSocket.OPEN) return;
    const waiting = socket.bufferedAmount;
    if (waiting === 0 && this.#lastSize > 0) this.up();
    if (waiting === 0 || waiting < this.#waiting) this.#movedAt = now;
    this.#waiting = waiting;
    if (now - this.#movedAt > STUCK_LIMIT) {
      this.down(because('unreachable'));
      return;
    }
    // One picture may wait behind the one that is being sent, not more.
    if (!this.#grabbing && waiting <= this.#lastSize) void this.#send();
  }

  async #send(): Promise<void> {
    this.#grabbing = true;
    const picture = await this.grab();
    this.#grabbing = false;
    const socket = this.#socket;
    if (!picture || !socket || socket.readyState !== WebSocket.OPEN || this.stopped) return;
    this.#lastSize = picture.data.size;
    socket.send(picture.data);
    this.#waiting = socket.bufferedAmount;
    this.count(picture.data.size, picture.width, picture.height);
  }

  #heard(data: unknown): void {
    const message = complaint(data);
    if (message === null) return;
    const now = performance.now();
    this.#complaints.push(now);
    while (now - (this.#complaints[0] ?? now) > COMPLAINT_WINDOW) this.#complaints.shift();
    if (this.#complaints.length >= COMPLAINTS) this.down(because('refused', message));
  }

  #ping(): void {
    const sent = performance.now();
    fetch(this.target.url('healthz').href, { cache: 'no-store', signal: this.within(PING_INTERVAL) })
      .then(() => this.stopped || this.measured(performance.now() - sent))
      .catch(() => undefined);
    this.later(() => this.#ping(), PING_INTERVAL);
  }
}

/** The words of {"type":"error","message":…}, null for anything else. */
export function complaint(data: unknown): string | null {
  if (typeof data !== 'string') return null;
  try {
    const message: unknown = JSON.parse(data);
    if (typeof message !== 'object' || message === null) return null;
    const { type, message: text } = message as { type?: unknown; message?: unknown };
    return type === 'error' ? String(text ?? '') : null;
  } catch {
    return null;
  }
}
