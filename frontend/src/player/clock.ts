/** Keeps the last few values and tells the one in the middle. */
export class RunningMedian {
  readonly #values: number[] = [];
  readonly #size: number;
  #next = 0;

  constructor(size: number) {
    this.#size = size;
  }

  add(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % this.#size;
  }

  clear(): void {
    this.#values.length = 0;
    this.#next = 0;
  }

  get value(): number | undefined {
    const sorted = [...this.#values].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  }
}

/** So many exchanges are remembered; clocks drift, so older ones must go. */
const EXCHANGES = 10;

/**
 * Learns how far the server's clock is from the page's own, the way NTP does
 * (RFC 5905 section 8): of the last exchanges the one with the shortest way
 * tells best. Page time is performance.now(), server time unix ms.
 */
export class ClockSync {
  readonly #exchanges: { rtt: number; offset: number }[] = [];

  /** The page asked at sent, the server read its clock, the answer came at received. */
  add(sent: number, server: number, received: number): void {
    const rtt = received - sent;
    if (!Number.isFinite(server) || !(rtt >= 0)) return;
    this.#exchanges.push({ rtt, offset: server - (sent + received) / 2 });
    if (this.#exchanges.length > EXCHANGES) this.#exchanges.shift();
  }

  /** Forgets everything: another server may be answering now. */
  clear(): void {
    this.#exchanges.length = 0;
  }

  /** The shortest way there and back, in ms. */
  get rtt(): number | undefined {
    return this.#best()?.rtt;
  }

  /** Server time at a page time. */
  serverTime(page: number): number | undefined {
    const best = this.#best();
    return best && page + best.offset;
  }

  #best() {
    let best = this.#exchanges[0];
    for (const e of this.#exchanges) if (best && e.rtt < best.rtt) best = e;
    return best;
  }
}

/** When a picture with this RTP timestamp was captured. */
export interface ClockMark {
  readonly rtp: number;
  /** Unix ms. */
  readonly captured: number;
  /** RTP ticks per second. */
  readonly rate: number;
}

/**
 * The capture time (unix ms) of a picture by its RTP timestamp. Timestamps are
 * 32 bits and wrap (RFC 3550 section 5.1), every 13 hours at 90 kHz, so the
 * shorter way round counts.
 */
export function capturedAt(mark: ClockMark, rtp: number): number {
  const ticks = (rtp - mark.rtp) | 0;
  return mark.captured + (ticks * 1000) / mark.rate;
}

/** A median over about a second: calm to read, quick to follow. */
const DELAY_WINDOW = 31;
/** Anything beyond is a clock that jumped, not a delay. */
const LARGEST_DELAY = 10 * 60_000;

/** The delay from capture to screen as it is shown. */
export class DelayMeter {
  readonly #median = new RunningMedian(DELAY_WINDOW);
  readonly #clock: ClockSync;

  constructor(clock: ClockSync) {
    this.#clock = clock;
  }

  /** The picture captured at (unix ms) was presented at (page ms). */
  add(captured: number, presented: number): void {
    const now = this.#clock.serverTime(presented);
    if (now === undefined) return;
    const delay = now - captured;
    if (!(Math.abs(delay) < LARGEST_DELAY)) return;
    // Half a millisecond of asymmetry on the wire can put it below zero.
    this.#median.add(Math.max(0, delay));
  }

  get value(): number | undefined {
    return this.#median.value;
  }
}

/** Counts things per second over a sliding window of a few seconds. */
export class Meter {
  readonly #marks: { at: number; amount: number }[] = [];
  readonly #window: number;

  /** The window is in ms. */
  constructor(window = 3000) {
    this.#window = window;
  }

  add(now: number, amount = 1): void {
    this.#marks.push({ at: now, amount });
    this.#trim(now);
  }

  /** Amount per second, undefined until there is something to divide by. */
  rate(now: number): number | undefined {
    this.#trim(now);
    const first = this.#marks[0];
    if (!first || this.#marks.length < 2) return undefined;
    let sum = 0;
    // The first mark opens the window: what it carries came before.
    for (let i = 1; i < this.#marks.length; i++) sum += this.#marks[i]?.amount ?? 0;
    const span = now - first.at;
    return span > 0 ? (sum * 1000) / span : undefined;
  }

  #trim(now: number): void {
    while (this.#marks.length > 0 && now - (this.#marks[0]?.at ?? now) > this.#window) this.#marks.shift();
  }
}
