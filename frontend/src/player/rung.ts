import type { ClockSync } from './clock';
import type { PlayerStats, Reason, RungName, SourceState } from './types';

/**
 * One way to get pictures onto a surface. A rung knows nothing of the others
 * and never retries: it works until it reports down, once, or is stopped. It
 * calls no event from within start() or stop(), and none after stop().
 */
export interface Rung {
  readonly name: RungName;
  /** Where the pictures appear; the player puts it into the page. */
  readonly surface: HTMLVideoElement | HTMLCanvasElement;
  start(): void;
  /** Releases everything. Calling it again does nothing. */
  stop(): void;
  stats(): Promise<PlayerStats>;
  /** Lets the sound be heard or not; missing where there is none. It is off at first. */
  setMuted?(muted: boolean): void;
}

export interface RungEvents {
  /** A new picture is on the surface. */
  picture(): void;
  /** The server says how the camera itself is. */
  source(state: SourceState, reason?: string): void;
  /** The browser allows no sound before somebody has touched the page: it is off again. */
  silenced?(): void;
  /** The rung cannot go on. */
  down(reason: Reason): void;
}

export interface RungContext {
  readonly camera: string;
  readonly url: Urls;
  readonly clock: ClockSync;
  readonly events: RungEvents;
  /** Width in pixels that stills are asked for; 0 for the camera's own. */
  readonly stillsWidth: number;
}

export type RungFactory = (name: RungName, context: RungContext) => Rung;

/** Builds the addresses of one camera. */
export class Urls {
  readonly #base: URL;
  readonly #camera: string;
  readonly #token: string | undefined;

  /** The base is the server's address, with or without a trailing slash. */
  constructor(base: string, camera: string, token?: string) {
    this.#base = new URL(base);
    this.#camera = encodeURIComponent(camera);
    this.#token = token;
  }

  signal(): string {
    const url = this.#make(`api/signal/${this.#camera}`);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    return url.href;
  }

  /** What the browser can play, and whether sound is wanted from the start. */
  mse(wish: { video: string; audio: string; sound: boolean }): string {
    const url = this.#make(`api/camera/mse/${this.#camera}`);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    url.searchParams.set('video', wish.video);
    url.searchParams.set('audio', wish.audio);
    if (wish.sound) url.searchParams.set('sound', '1');
    return url.href;
  }

  mjpeg(): string {
    return this.#make(`api/camera/mjpeg/${this.#camera}`).href;
  }

  snapshot(width = 0): string {
    const url = this.#make(`api/camera/snapshot/${this.#camera}`);
    if (width > 0) url.searchParams.set('width', String(Math.round(width)));
    return url.href;
  }

  #make(path: string): URL {
    const url = new URL(this.#base);
    url.pathname = url.pathname.replace(/\/*$/, '/') + path;
    url.search = '';
    url.hash = '';
    if (this.#token) url.searchParams.set('token', this.#token);
    return url;
  }
}
