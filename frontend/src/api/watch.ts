import { ApiError } from './client';
import type { Camera } from './types';

/** What is known of the cameras right now. */
export interface Cameras {
  /** The last list that came, also while the server is away. */
  readonly list: readonly Camera[];
  /** Whether a list has ever come. */
  readonly loaded: boolean;
  /**
   * ok: the list is fresh; away: the server does not answer; signed-out: it
   * wants to know who asks; error: it answered with an error, see message.
   */
  readonly link: 'ok' | 'away' | 'signed-out' | 'error';
  /** The server's words when it said no. */
  readonly message: string;
}

export const NOTHING: Cameras = { list: [], loaded: false, link: 'ok', message: '' };

const INTERVAL = 2000;
const LONGEST = 5000;
const HIDDEN = 30_000;

/**
 * Keeps the camera list fresh: every 2 s while the page is visible, rarely
 * while it is hidden or the server is away, at once when that changes.
 */
export class CameraWatch {
  readonly #load: () => Promise<Camera[]>;
  readonly #tell: (cameras: Cameras) => void;
  readonly #leave = new AbortController();
  #now: Cameras = NOTHING;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #loading = false;
  #again = false;

  constructor(load: () => Promise<Camera[]>, tell: (cameras: Cameras) => void) {
    this.#load = load;
    this.#tell = tell;
  }

  start(): void {
    const { signal } = this.#leave;
    addEventListener('online', () => this.refresh(), { signal });
    document.addEventListener('visibilitychange', () => document.hidden || this.refresh(), { signal });
    this.refresh();
  }

  /** Asks now instead of later. */
  refresh(): void {
    if (this.#leave.signal.aborted) return;
    clearTimeout(this.#timer);
    // A running request may be older than what made us ask.
    if (this.#loading) this.#again = true;
    else void this.#run();
  }

  stop(): void {
    this.#leave.abort();
    clearTimeout(this.#timer);
  }

  async #run(): Promise<void> {
    this.#loading = true;
    this.#again = false;
    const next = await this.#ask();
    this.#loading = false;
    if (this.#leave.signal.aborted) return;
    this.#failures = next.link === 'ok' ? 0 : this.#failures + 1;
    this.#now = next;
    this.#tell(next);
    if (this.#again) void this.#run();
    else this.#timer = setTimeout(() => void this.#run(), this.#pause());
  }

  async #ask(): Promise<Cameras> {
    try {
      return { list: await this.#load(), loaded: true, link: 'ok', message: '' };
    } catch (err) {
      if (!(err instanceof ApiError)) return { ...this.#now, link: 'away', message: '' };
      return { ...this.#now, link: err.status === 401 ? 'signed-out' : 'error', message: err.message };
    }
  }

  #pause(): number {
    if (document.hidden) return HIDDEN;
    // 2, 2, 4, 5 s: somebody may be waiting in front of the page.
    return Math.min(LONGEST, INTERVAL * 2 ** Math.max(0, this.#failures - 1));
  }
}
