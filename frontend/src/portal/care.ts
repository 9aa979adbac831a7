/** What a screen that nobody touches sees of itself. All times in ms. */
export interface Look {
  /** A clock that only goes forward. */
  readonly now: number;
  /** The time of day at the place of the screen, in ms since midnight. */
  readonly timeOfDay: number;
  /** Whether the other side is on the screen, live. */
  readonly live: boolean;
  /** Whether the server says that the other side is there. */
  readonly expected: boolean;
  /** Whether the server answers. Without it a page that is loaded anew would be lost. */
  readonly reachable: boolean;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** The other side is there and yet not seen for so long: the page itself has a trouble. */
const STUCK = 3 * MINUTE;
/** From one load to the next when the first has not helped. */
const AGAIN = 10 * MINUTE;
/** A page that is older than this is loaded anew in the night. */
const OLD = 20 * HOUR;
const NIGHT = { from: 3 * HOUR, to: 5 * HOUR } as const;

/**
 * Decides when a page that is open for months is loaded anew: when it is stuck,
 * and once a night, for a newer version of itself and for what browsers never
 * give back. Pure: it has no clock and loads nothing.
 */
export class PageCare {
  readonly #since: number;
  readonly #minute: number;
  #stuckSince: number | null = null;

  /** Born is when the page was loaded; spread (0 to 1) keeps two screens from blinking at the same time. */
  constructor(born: number, spread: number) {
    this.#since = born;
    this.#minute = NIGHT.from + spread * (NIGHT.to - NIGHT.from - HOUR);
  }

  /** Reports whether to load the page anew now. */
  look(at: Look): boolean {
    const stuck = at.expected && !at.live && at.reachable;
    if (!stuck) this.#stuckSince = null;
    else this.#stuckSince ??= at.now;
    if (!at.reachable) return false;
    const age = at.now - this.#since;
    if (this.#stuckSince !== null && at.now - this.#stuckSince >= STUCK && age >= AGAIN) return true;
    return age >= OLD && at.timeOfDay >= this.#minute && at.timeOfDay < NIGHT.to;
  }
}

/** A camera whose newest picture is older than this (s) shows the past. */
const STALE = 5;
/** Younger than this (s), twice in a row, it shows the present again. */
const YOUNG = 1.5;

/**
 * Tells from one list of cameras to the next whether what a camera shows is
 * now. Its state alone does not say so: the server of the other place may be
 * well connected and have nothing to send. Whoever connects to it anew then
 * gets the last pictures that there were once more, so one young picture is no
 * proof that the other side is back.
 */
export class Freshness {
  #stale = false;
  #young = 0;

  /** Takes what a fresh list says, and reports whether the camera shows the present. */
  look(camera: { readonly lastFrameAge: number | null; readonly fps: number } | undefined): boolean {
    if (!camera || camera.lastFrameAge === null) {
      this.#young = 0;
      return !this.#stale;
    }
    // A slow camera is not stale between two of its pictures.
    const pause = camera.fps > 0 ? 1 / camera.fps : 0;
    if (camera.lastFrameAge >= Math.max(STALE, 3 * pause)) this.#stale = true;
    this.#young = camera.lastFrameAge <= Math.max(YOUNG, 2 * pause) ? this.#young + 1 : 0;
    if (this.#young >= 2) this.#stale = false;
    return !this.#stale;
  }
}

/** A number from 0 to 1 that is always the same for a name. */
export function spreadOf(name: string): number {
  let hash = 2166136261;
  for (const c of name) hash = Math.imul(hash ^ (c.codePointAt(0) ?? 0), 16777619);
  return (hash >>> 0) / 2 ** 32;
}
