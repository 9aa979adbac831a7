import { isFinal } from './types';
import type { PublishReason } from './types';

/** off: not wanted; dialing: one try runs; up; waiting: until nextAt; failed: for good. */
export type Phase = 'off' | 'dialing' | 'up' | 'waiting' | 'failed';

export interface RedialSettings {
  /** First and longest pause between two tries, in ms. */
  readonly first: number;
  readonly longest: number;
  /** A connection that held so long (ms) was a good one: the pauses begin anew. */
  readonly settled: number;
  readonly random: () => number;
}

const SETTINGS: RedialSettings = { first: 400, longest: 5000, settled: 10_000, random: Math.random };

/**
 * Decides when to try again. It reads no clock and starts nothing: each method
 * that returns a boolean says whether a try has to begin now. Times are ms.
 */
export class Redial {
  readonly #settings: RedialSettings;
  #phase: Phase = 'off';
  #reason: PublishReason | null = null;
  #failures = 0;
  #upSince = 0;
  #nextAt = Infinity;

  constructor(settings: Partial<RedialSettings> = {}) {
    this.#settings = { ...SETTINGS, ...settings };
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Why the last connection or try ended, until one is up. */
  get reason(): PublishReason | null {
    return this.#reason;
  }

  /** When tick is due, Infinity for never. */
  get nextAt(): number {
    return this.#nextAt;
  }

  start(): boolean {
    this.#failures = 0;
    this.#reason = null;
    return this.#dial();
  }

  stop(): void {
    this.#phase = 'off';
    this.#reason = null;
    this.#nextAt = Infinity;
  }

  up(now: number): void {
    if (this.#phase !== 'dialing') return;
    this.#phase = 'up';
    this.#reason = null;
    this.#upSince = now;
  }

  /** The connection or the try is over; final: for good. */
  down(reason: PublishReason, now: number, final = isFinal(reason)): void {
    if (this.#phase === 'off' || this.#phase === 'failed') return;
    if (this.#phase === 'up' && now - this.#upSince >= this.#settings.settled) this.#failures = 0;
    this.#reason = reason;
    if (final) {
      this.#phase = 'failed';
      this.#nextAt = Infinity;
      return;
    }
    const { first, longest, random } = this.#settings;
    const pause = Math.min(longest, first * 2 ** this.#failures) * (0.75 + random() / 2);
    this.#failures++;
    this.#phase = 'waiting';
    this.#nextAt = now + pause;
  }

  /** Something has changed for the better: the network is back, somebody looks. */
  nudge(): boolean {
    if (this.#phase !== 'waiting') return false;
    this.#failures = 0;
    return this.#dial();
  }

  tick(now: number): boolean {
    return this.#phase === 'waiting' && now >= this.#nextAt && this.#dial();
  }

  #dial(): boolean {
    this.#phase = 'dialing';
    this.#nextAt = Infinity;
    return true;
  }
}
