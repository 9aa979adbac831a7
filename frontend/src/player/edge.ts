/** Where the player stands, in seconds of media time. */
export interface Place {
  /** What is on the screen. */
  readonly current: number;
  /** The parts that are buffered, in order. */
  readonly ranges: readonly (readonly [start: number, end: number])[];
}

/** What to do about it: another place, and how fast to go on. */
export interface Move {
  readonly seek?: number;
  readonly rate: number;
}

/** How far behind the newest picture is aimed at, s: from the first, which grows with each standstill. */
const CLOSEST = 0.06;
const FARTHEST = 0.4;
const STEP = 0.06;
/** After so long (ms) without a standstill it is tried a little closer. */
const CALM = 15_000;
/** A standstill so soon (ms) after another one is the same. */
const SAME = 1000;
/** Farther behind the aim than this (s) it is jumped: nobody watches the past at a quicker pace. */
const JUMP = 0.7;
/** Closer to the aim than this (s) is good enough. */
const GOOD = 0.04;
/** The fastest and the slowest pace. Sound keeps its pitch, but is not to race. */
const FAST = 1.25;
const FASTEST = 2;
const SLOW = 0.96;

/**
 * Keeps the picture close behind the newest one that has arrived, by small
 * changes of pace and, when those would take too long, by a jump. How close it
 * can be is a matter of the network: each standstill moves the aim away a
 * little, each calm time brings it back. Positions and times in, moves out.
 */
export class LiveEdge {
  #aim = CLOSEST;
  #stoodAt = -Infinity;
  #calmSince = -Infinity;

  /** How far behind the newest picture is aimed at, s. */
  get aim(): number {
    return this.#aim;
  }

  /** The picture has come to a stop for want of data at this time (ms). */
  stood(now: number): void {
    this.#calmSince = now;
    if (now - this.#stoodAt < SAME) return;
    this.#stoodAt = now;
    this.#aim = Math.min(FARTHEST, this.#aim + STEP);
  }

  /** What to do at this time (ms). Silent: nobody hears a change of pace. */
  move(place: Place, now: number, silent: boolean): Move {
    if (now - this.#calmSince > CALM) {
      this.#calmSince = now;
      this.#aim = Math.max(CLOSEST, this.#aim - STEP / 2);
    }
    const last = place.ranges.at(-1);
    if (!last) return { rate: 1 };
    const [start, end] = last;
    const goal = Math.max(start, end - this.#aim);
    // A hole that the picture stands before, or a piece of the past.
    if (place.current < start) return { seek: goal, rate: 1 };
    const late = goal - place.current;
    if (late > JUMP) return { seek: goal, rate: 1 };
    if (late > GOOD) return { rate: silent ? Math.min(FASTEST, 1 + late * 2) : Math.min(FAST, 1 + late) };
    // Before it comes to a stop it goes slower: that is not seen.
    if (late < -GOOD && place.current < end) return { rate: SLOW };
    return { rate: 1 };
  }
}
