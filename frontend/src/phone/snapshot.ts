import { refused } from './link';
import type { LinkEvents, LinkTarget } from './link';
import { PictureLink } from './stream';
import type { PictureOptions } from './stream';
import { because } from './types';

/** A camera that has just been opened has no picture yet; looked at again after so many ms. */
const FIRST_PICTURE = 200;
/** A picture takes no longer than this to be sent (ms). */
const SEND_LIMIT = 20_000;

/** Sends a JPEG picture every few seconds, each in a request of its own. */
export class SnapshotLink extends PictureLink {
  #interval: number;
  /** When the last picture that arrived was begun. */
  #last: number | null = null;
  #next: ReturnType<typeof setTimeout> | undefined;
  #sending = false;
  #failing = false;

  /** The interval is in seconds. */
  constructor(target: LinkTarget, options: PictureOptions & { readonly interval: number }, events: LinkEvents) {
    super(target, options, events);
    this.#interval = options.interval * 1000;
  }

  start(): void {
    this.#plan(0);
  }

  alive(): boolean {
    return !this.#failing;
  }

  /** Another pause between two pictures, in seconds; it counts from the last one. */
  setPace(seconds: number): void {
    this.#interval = seconds * 1000;
    if (!this.#sending && this.#last !== null) this.#plan(Math.max(0, this.#last + this.#interval - performance.now()));
  }

  #plan(wait: number): void {
    if (this.stopped) return;
    clearTimeout(this.#next);
    this.#next = this.later(() => void this.#send(), wait);
  }

  async #send(): Promise<void> {
    this.#sending = true;
    const begun = performance.now();
    const picture = await this.grab();
    if (!picture) {
      this.#sending = false;
      this.#plan(FIRST_PICTURE);
      return;
    }
    const form = new FormData();
    // The id first: a server that refuses it need not read the picture.
    form.append('device_id', this.target.id);
    form.append('image', picture.data, 'picture.jpg');
    try {
      const sent = performance.now();
      const response = await fetch(this.target.url('api/camera/frame').href, {
        method: 'POST',
        body: form,
        credentials: 'include',
        signal: this.within(SEND_LIMIT),
      });
      if (!response.ok) {
        this.#failing = true;
        this.down(await refused(response, this.target.takeover));
        return;
      }
      this.measured(performance.now() - sent);
      this.count(picture.data.size, picture.width, picture.height);
      this.up();
    } catch {
      this.#failing = true;
      this.down(because('unreachable'));
      return;
    } finally {
      this.#sending = false;
    }
    this.#last = begun;
    this.#plan(Math.max(0, begun + this.#interval - performance.now()));
  }
}
