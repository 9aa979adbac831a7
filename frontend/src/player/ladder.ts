import { isFinal } from './types';
import type { Reason, RungName } from './types';

export interface LadderSettings {
  /** First pause after a failed try, ms; doubles with each further one. */
  firstRetry: number;
  /** Longest pause while a lower rung shows pictures, ms. */
  longestRetry: number;
  /** Longest pause while nothing shows pictures, ms. */
  longestDarkRetry: number;
  /** Pause before the first retry of a rung that had been healthy: up to so many ms. */
  healthyRetry: number;
  /** A rung that showed pictures for so long (ms) was healthy. */
  healthy: number;
  /** A rung without a picture after so long gets the next one as company, ms. */
  hedge: number;
  /** A rung without a picture after so long has failed, ms. */
  openLimit: number;
  /** Pause after the server said that no rung will ever do, ms. */
  finalRetry: number;
  /** From 0 to 1. Many pages must not all come back in the same moment. */
  random: () => number;
}

export const defaultSettings: LadderSettings = {
  firstRetry: 1000,
  longestRetry: 30_000,
  longestDarkRetry: 2000,
  healthyRetry: 250,
  healthy: 10_000,
  hedge: 2500,
  openLimit: 10_000,
  finalRetry: 30_000,
  random: Math.random,
};

export type Action = { readonly do: 'open' | 'close'; readonly rung: RungName };

interface Slot {
  readonly name: RungName;
  open: boolean;
  live: boolean;
  /** The server has answered, but the camera itself has nothing to show. */
  held: boolean;
  /** When it was opened, last came out of held, or went live. */
  since: number;
  failures: number;
  downAt: number;
  pause: number;
  reason: Reason | undefined;
}

/**
 * Which rungs to open and close, and when: events and times in, actions out.
 * It has no timer of its own: call tick at nextAt at the latest.
 *
 * The best rung that delivers is shown. All below it are closed; all above it
 * are tried again with growing pauses, beside the shown one, so that climbing
 * costs no picture. While nothing is shown, the rungs are opened from the top,
 * a lower one as soon as the one above has failed or takes long.
 */
export class Ladder {
  readonly #slots: Slot[];
  readonly #set: LadderSettings;
  #top = 0;
  #running = false;
  #settledAt = 0;
  /** Whether the server has been away since the last picture. */
  #outage = false;
  #final: { reason: Reason; until: number } | null = null;

  constructor(rungs: readonly RungName[], top: RungName, settings: Partial<LadderSettings> = {}) {
    this.#set = { ...defaultSettings, ...settings };
    this.#slots = rungs.map(fresh);
    this.#top = Math.max(0, rungs.indexOf(top));
  }

  /** The rung whose pictures are to be seen. */
  get shown(): RungName | null {
    return this.#slots.find((s) => s.live)?.name ?? null;
  }

  /** Why no rung will do, once the server has said so. */
  get final(): Reason | undefined {
    return this.#final?.reason;
  }

  /** The last reason of the best rung, as long as it does not deliver. */
  get reason(): Reason | undefined {
    const tried = this.#slots.slice(this.#top).filter((s) => !s.live && s.reason);
    // "The server does not answer" explains more than "the WebSocket closed".
    return (tried.find((s) => s.reason?.code === 'unreachable') ?? tried[0])?.reason;
  }

  /** Whether some rung has been tried in vain since the last picture. */
  get failing(): boolean {
    return this.#slots.some((s) => s.failures > 0);
  }

  /** Why the shown rung is not the best one; undefined when it is. */
  get why(): Reason | undefined {
    const at = this.#slots.findIndex((s) => s.live);
    if (at <= 0) return undefined;
    if (at <= this.#top) return { code: 'asked' };
    return this.#slots[at - 1]?.reason ?? { code: 'slow' };
  }

  start(now: number): Action[] {
    this.#running = true;
    this.#final = null;
    return this.#settle(now);
  }

  /** Closes everything and forgets all failures. */
  stop(now: number): Action[] {
    this.#running = false;
    return this.#settle(now);
  }

  /** Makes another rung the best one wanted. */
  setTop(rung: RungName, now: number): Action[] {
    this.#top = Math.max(0, this.#slots.findIndex((s) => s.name === rung));
    return this.#settle(now);
  }

  /** The rung delivers pictures. */
  picture(rung: RungName, now: number): Action[] {
    const slot = this.#slot(rung);
    if (!slot.open || slot.live) return [];
    Object.assign(slot, { live: true, held: false, since: now, reason: undefined });
    if (this.#outage) this.#forgive();
    return this.#settle(now);
  }

  /** The rung's server end says that the camera has nothing to show, or has again. */
  held(rung: RungName, held: boolean, now: number): Action[] {
    const slot = this.#slot(rung);
    if (!slot.open || slot.live || slot.held === held) return [];
    slot.held = held;
    slot.since = now;
    return this.#settle(now);
  }

  /** The rung has stopped working; it is closed. */
  down(rung: RungName, reason: Reason, now: number): Action[] {
    const slot = this.#slot(rung);
    if (!slot.open) return [];
    const actions: Action[] = [{ do: 'close', rung }];
    this.#fail(slot, reason, now);
    if (reason.code === 'unreachable') this.#outage = true;
    if (isFinal(reason)) this.#final = { reason, until: now + this.#set.finalRetry };
    return [...actions, ...this.#settle(now)];
  }

  /** The world has changed for the better (network, page visible): try at once. */
  nudge(now: number): Action[] {
    this.#final = null;
    const actions: Action[] = [];
    for (const slot of this.#slots) {
      slot.downAt = -Infinity;
      // A try that began on the old network would hang until its limit.
      if (!slot.open || slot.live || slot.held || now - slot.since < this.#set.firstRetry) continue;
      slot.open = false;
      actions.push({ do: 'close', rung: slot.name });
    }
    return [...actions, ...this.#settle(now)];
  }

  tick(now: number): Action[] {
    return this.#settle(now);
  }

  /** When the next decision is due, seen from the last call; Infinity for never. */
  get nextAt(): number {
    if (!this.#running) return Infinity;
    if (this.#final) return this.#final.until;
    const dark = this.shown === null;
    let next = Infinity;
    for (const slot of this.#slots.slice(this.#top)) {
      const due: number[] = [];
      if (!slot.open) due.push(this.#readyAt(slot, dark));
      else if (!slot.live && !slot.held) due.push(slot.since + this.#set.openLimit, slot.since + this.#set.hedge);
      for (const at of due) if (at > this.#settledAt && at < next) next = at;
    }
    return next;
  }

  #settle(now: number): Action[] {
    const actions: Action[] = [];
    this.#settledAt = now;
    if (this.#final && now >= this.#final.until) this.#final = null;
    this.#slots.forEach((slot, i) => {
      if (!this.#running || i < this.#top || this.#final) {
        if (slot.open) actions.push({ do: 'close', rung: slot.name });
        if (!this.#final) Object.assign(slot, fresh(slot.name));
        slot.open = slot.live = slot.held = false;
      } else if (slot.open && !slot.live && !slot.held && now - slot.since >= this.#set.openLimit) {
        actions.push({ do: 'close', rung: slot.name });
        this.#fail(slot, { code: 'no-picture' }, now);
      }
    });
    if (!this.#running || this.#final) return actions;
    const shown = this.#slots.findIndex((s) => s.live);
    if (shown < 0) this.#openFromTop(now, actions);
    else this.#climbAbove(shown, now, actions);
    return actions;
  }

  #openFromTop(now: number, actions: Action[]): void {
    for (const slot of this.#slots.slice(this.#top)) {
      if (slot.open) {
        // A dark camera is dark on every rung.
        if (slot.held || now - slot.since < this.#set.hedge) return;
      } else if (now >= this.#readyAt(slot, true)) {
        this.#open(slot, now, actions);
        return;
      } else if (slot.failures === 0 || slot.reason?.code === 'unreachable') {
        return;
      }
    }
  }

  #climbAbove(shown: number, now: number, actions: Action[]): void {
    this.#slots.forEach((slot, i) => {
      if (i > shown) {
        if (slot.open) actions.push({ do: 'close', rung: slot.name });
        Object.assign(slot, fresh(slot.name));
      } else if (i < shown && i >= this.#top && !slot.open && now >= this.#readyAt(slot, false)) {
        this.#open(slot, now, actions);
      }
    });
  }

  /** The server is back: that it was away says nothing against the better rungs. */
  #forgive(): void {
    this.#outage = false;
    for (const slot of this.#slots) if (!slot.open) Object.assign(slot, { failures: 0, downAt: -Infinity });
  }

  #open(slot: Slot, now: number, actions: Action[]): void {
    Object.assign(slot, { open: true, live: false, held: false, since: now });
    actions.push({ do: 'open', rung: slot.name });
  }

  #fail(slot: Slot, reason: Reason, now: number): void {
    const { firstRetry, longestRetry, healthyRetry, healthy, random } = this.#set;
    if (slot.live && now - slot.since >= healthy) {
      slot.failures = 0;
      slot.pause = healthyRetry * random();
    } else {
      slot.failures++;
      slot.pause = Math.min(longestRetry, firstRetry * 2 ** (slot.failures - 1)) * (1 - random() / 2);
    }
    Object.assign(slot, { open: false, live: false, held: false, downAt: now, reason });
  }

  #readyAt(slot: Slot, dark: boolean): number {
    return slot.downAt + (dark ? Math.min(slot.pause, this.#set.longestDarkRetry) : slot.pause);
  }

  #slot(rung: RungName): Slot {
    const slot = this.#slots.find((s) => s.name === rung);
    if (!slot) throw new Error(`the ladder has no rung "${rung}"`);
    return slot;
  }
}

function fresh(name: RungName): Slot {
  return {
    name,
    open: false,
    live: false,
    held: false,
    since: 0,
    failures: 0,
    downAt: -Infinity,
    pause: 0,
    reason: undefined,
  };
}
