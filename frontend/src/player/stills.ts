import { CanvasSurface } from './canvas';
import { DelayMeter, Meter } from './clock';
import { learnClock, numberHeader, refusal } from './http';
import type { Rung, RungContext } from './rung';
import { put } from './types';
import type { PlayerStats, Reason } from './types';

/** From one request to the next, ms. */
const INTERVAL = 1000;
/** An answer that takes longer (ms) does not come. */
const TIMEOUT = 8000;

/** Still pictures, one request each: slow, and works through everything. */
export class StillsRung implements Rung {
  readonly name = 'stills';
  readonly #canvas = new CanvasSurface();
  readonly #ctx: RungContext;
  readonly #delay: DelayMeter;
  readonly #pictures = new Meter(10_000);
  readonly #bytes = new Meter(10_000);
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timestamp: string | null = null;
  #finished = false;

  constructor(ctx: RungContext) {
    this.#ctx = ctx;
    this.#delay = new DelayMeter(ctx.clock);
  }

  get surface(): HTMLCanvasElement {
    return this.#canvas.element;
  }

  start(): void {
    void this.#next();
  }

  stop(): void {
    this.#finished = true;
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  stats(): Promise<PlayerStats> {
    const now = performance.now();
    const stats: PlayerStats = { codec: 'JPEG' };
    put(stats, 'delay', this.#delay.value);
    put(stats, 'rtt', this.#ctx.clock.rtt);
    put(stats, 'width', this.surface.width || undefined);
    put(stats, 'height', this.surface.height || undefined);
    put(stats, 'fps', this.#pictures.rate(now));
    const rate = this.#bytes.rate(now);
    put(stats, 'bitrate', rate === undefined ? undefined : rate * 8);
    return Promise.resolve(stats);
  }

  async #next(): Promise<void> {
    const begun = performance.now();
    this.#timer = setTimeout(() => this.#down({ code: 'silent' }), TIMEOUT);
    try {
      const reason = await this.#fetch(begun);
      if (reason) this.#down(reason);
    } catch {
      this.#down({ code: 'unreachable' });
    }
    clearTimeout(this.#timer);
    if (this.#finished) return;
    const wait = Math.max(0, INTERVAL - (performance.now() - begun));
    this.#timer = setTimeout(() => void this.#next(), wait);
  }

  /** Gets and shows one picture. Answers with the reason when there is none to be had. */
  async #fetch(begun: number): Promise<Reason | null> {
    const url = this.#ctx.url.snapshot(this.#ctx.stillsWidth);
    const response = await fetch(url, { signal: this.#abort.signal, cache: 'no-store' });
    if (!response.ok) return refusal(response);
    learnClock(this.#ctx, begun, response);
    const timestamp = response.headers.get('X-Frame-Timestamp');
    const data = await response.blob();
    // The picture that is on the screen already.
    if (timestamp !== null && timestamp === this.#timestamp) return null;
    this.#timestamp = timestamp;
    let picture: ImageBitmap;
    try {
      picture = await createImageBitmap(data);
    } catch {
      return { code: 'decode' };
    }
    if (this.#finished) {
      picture.close();
      return null;
    }
    this.#canvas.draw(picture);
    const now = performance.now();
    const captured = numberHeader(response.headers, 'X-Frame-Timestamp');
    if (captured !== undefined) this.#delay.add(captured * 1000, now);
    this.#pictures.add(now);
    this.#bytes.add(now, data.size);
    this.#ctx.events.picture();
    return null;
  }

  #down(reason: Reason): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#ctx.events.down(reason);
  }
}
