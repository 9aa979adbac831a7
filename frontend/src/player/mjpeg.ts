import { CanvasSurface } from './canvas';
import { DelayMeter, Meter } from './clock';
import { learnClock, numberHeader, refusal } from './http';
import { MultipartError, MultipartParser, boundaryOf } from './multipart';
import type { Part } from './multipart';
import type { Rung, RungContext } from './rung';
import { put } from './types';
import type { PlayerStats, Reason } from './types';

/** The server repeats the last picture after 15 s of silence; nothing for longer (ms) means it is gone. */
const SILENCE_LIMIT = 20_000;

/**
 * Pictures by MJPEG. An <img> shows a picture only when the next one begins,
 * tells neither its age nor its end, and never drops a late one; so the stream
 * is read and decoded here, always the newest picture, and drawn on a canvas.
 */
export class MjpegRung implements Rung {
  readonly name = 'mjpeg';
  readonly #canvas = new CanvasSurface();
  readonly #ctx: RungContext;
  readonly #delay: DelayMeter;
  readonly #pictures = new Meter();
  readonly #bytes = new Meter();
  readonly #abort = new AbortController();
  #newest: Part | null = null;
  #decoding = false;
  #finished = false;
  #timestamp: string | undefined;
  #dropped = 0;
  #unreadable = 0;
  #silence: ReturnType<typeof setTimeout> | undefined;

  constructor(ctx: RungContext) {
    this.#ctx = ctx;
    this.#delay = new DelayMeter(ctx.clock);
  }

  get surface(): HTMLCanvasElement {
    return this.#canvas.element;
  }

  start(): void {
    this.#listen();
    void this.#run();
  }

  stop(): void {
    clearTimeout(this.#silence);
    this.#newest = null;
    this.#abort.abort();
  }

  stats(): Promise<PlayerStats> {
    const now = performance.now();
    const stats: PlayerStats = { codec: 'JPEG', lost: this.#dropped };
    put(stats, 'delay', this.#delay.value);
    put(stats, 'rtt', this.#ctx.clock.rtt);
    put(stats, 'width', this.surface.width || undefined);
    put(stats, 'height', this.surface.height || undefined);
    put(stats, 'fps', this.#pictures.rate(now));
    const rate = this.#bytes.rate(now);
    put(stats, 'bitrate', rate === undefined ? undefined : rate * 8);
    return Promise.resolve(stats);
  }

  async #run(): Promise<void> {
    try {
      const response = await fetch(this.#ctx.url.mjpeg(), { signal: this.#abort.signal, cache: 'no-store' });
      if (!response.ok) {
        this.#down(await refusal(response));
        return;
      }
      const boundary = boundaryOf(response.headers.get('Content-Type'));
      if (!boundary || !response.body) {
        this.#down({ code: 'decode', detail: 'no multipart stream' });
        return;
      }
      // Without WebRTC's pings the clock has to be learned another way.
      if (this.#ctx.clock.rtt === undefined) void this.#learnClock();
      await this.#read(response.body.getReader(), new MultipartParser(boundary));
      this.#down({ code: 'silent' });
    } catch (err) {
      this.#down(err instanceof MultipartError ? { code: 'decode', detail: err.message } : { code: 'unreachable' });
    }
  }

  async #read(reader: ReadableStreamDefaultReader<Uint8Array>, parser: MultipartParser): Promise<void> {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#listen();
      this.#bytes.add(performance.now(), value.length);
      for (const part of parser.push(value)) this.#offer(part);
    }
  }

  #offer(part: Part): void {
    const timestamp = part.headers.get('x-timestamp');
    // The same picture again only says that the connection stands.
    if (timestamp !== undefined && timestamp === this.#timestamp) return;
    this.#timestamp = timestamp;
    if (this.#newest) this.#dropped++;
    this.#newest = part;
    if (!this.#decoding) void this.#decode();
  }

  /** One picture at a time; whatever comes meanwhile, only the newest is next. */
  async #decode(): Promise<void> {
    this.#decoding = true;
    while (this.#newest && !this.#abort.signal.aborted) {
      const part = this.#newest;
      this.#newest = null;
      try {
        const picture = await createImageBitmap(new Blob([part.body], { type: 'image/jpeg' }));
        if (this.#abort.signal.aborted) picture.close();
        else this.#show(picture, part);
      } catch {
        this.#unreadablePicture();
      }
    }
    this.#decoding = false;
  }

  #show(picture: ImageBitmap, part: Part): void {
    this.#unreadable = 0;
    this.#canvas.draw(picture);
    const now = performance.now();
    const captured = numberHeader(part.headers, 'x-timestamp');
    if (captured !== undefined) this.#delay.add(captured * 1000, now);
    this.#pictures.add(now);
    this.#ctx.events.picture();
  }

  /** One broken picture is the camera's affair, a row of them is a stream we cannot read. */
  #unreadablePicture(): void {
    this.#dropped++;
    if (++this.#unreadable >= 10) this.#down({ code: 'decode' });
  }

  async #learnClock(): Promise<void> {
    try {
      const sent = performance.now();
      const response = await fetch(this.#ctx.url.snapshot(160), { signal: this.#abort.signal, cache: 'no-store' });
      learnClock(this.#ctx, sent, response);
      await response.body?.cancel();
    } catch {
      // Then the delay is not shown; the picture is what counts.
    }
  }

  #listen(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#down({ code: 'silent' }), SILENCE_LIMIT);
  }

  #down(reason: Reason): void {
    if (this.#finished || this.#abort.signal.aborted) return;
    this.#finished = true;
    this.#ctx.events.down(reason);
  }
}
