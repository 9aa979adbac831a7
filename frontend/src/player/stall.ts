/** A moving picture that stands still for so long (ms) has stalled. */
const SHORTEST = 3000;
const LONGEST = 60_000;
/** A camera may be so many of its usual gaps late. */
const GAPS = 4;

/**
 * Decides when a picture has stood still for too long. Three seconds are too
 * long for a camera at 25 pictures per second and nothing for one that sends a
 * picture every ten, so the limit follows the usual gap; and it doubles with
 * each restart that brought one cached picture and no motion.
 */
export class StallGuard {
  #last: number | null = null;
  #gap = 0;
  #factor = 1;
  #sinceRestart = 0;

  /** A picture came at this time (ms). */
  picture(now: number): void {
    // The first gap after a restart is the restart's, not the camera's.
    if (this.#last !== null && this.#sinceRestart > 0) {
      const gap = now - this.#last;
      this.#gap = this.#gap === 0 ? gap : this.#gap * 0.8 + gap * 0.2;
    }
    this.#last = now;
    this.#sinceRestart++;
    // Two in a row may both come from the server's cache; more are motion.
    if (this.#sinceRestart > 3) this.#factor = 1;
  }

  /** The rung is opened anew because of a stall; the camera's pace stays. */
  restarted(): void {
    if (this.#sinceRestart <= 3) this.#factor = Math.min(this.#factor * 2, LONGEST / SHORTEST);
    this.#last = null;
    this.#sinceRestart = 0;
  }

  /** The wait begins anew: until now nothing could have come. */
  resume(now: number): void {
    if (this.#last === null) return;
    this.#last = now;
    this.#sinceRestart = 0;
  }

  /** Another rung took over: its pace is its own. */
  reset(): void {
    this.#last = null;
    this.#gap = 0;
    this.#sinceRestart = 0;
  }

  /** Ms without a picture that count as stalled. */
  get limit(): number {
    return Math.min(LONGEST, Math.max(SHORTEST * this.#factor, this.#gap * GAPS));
  }

  /** When the picture will have stalled; null before the first one. */
  get deadline(): number | null {
    return this.#last === null ? null : this.#last + this.limit;
  }

  stalled(now: number): boolean {
    return this.deadline !== null && now >= this.deadline;
  }
}
