/**
 * Keeps the screen from going dark. Browsers let go of the lock whenever the
 * page is hidden, so it is taken again each time somebody looks.
 */
export class Awake {
  readonly #changed: () => void;
  #lock: WakeLockSentinel | null = null;
  #wanted = false;
  #asking = false;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get held(): boolean {
    return this.#lock !== null;
  }

  /** Takes the lock, or takes it again. Calling it while it is held does nothing. */
  take(): void {
    this.#wanted = true;
    void this.#ask();
  }

  release(): void {
    this.#wanted = false;
    const lock = this.#lock;
    this.#lock = null;
    if (!lock) return;
    lock.onrelease = null;
    void lock.release().catch(() => undefined);
  }

  async #ask(): Promise<void> {
    // An old browser does not have it; the page then says how to help oneself.
    if (this.#lock || this.#asking || document.hidden || !('wakeLock' in navigator)) return;
    this.#asking = true;
    try {
      const lock = await navigator.wakeLock.request('screen');
      if (!this.#wanted) {
        await lock.release();
        return;
      }
      lock.onrelease = () => {
        if (this.#lock !== lock) return;
        this.#lock = null;
        this.#changed();
      };
      this.#lock = lock;
      this.#changed();
    } catch {
      // A low battery, or the page has just been hidden.
    } finally {
      this.#asking = false;
    }
  }
}
