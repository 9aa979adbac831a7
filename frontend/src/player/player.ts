import { copyOf } from './canvas';
import { ClockSync } from './clock';
import { Ladder } from './ladder';
import type { Action, LadderSettings } from './ladder';
import { MjpegRung } from './mjpeg';
import { MseRung } from './mse';
import { Urls } from './rung';
import type { Rung, RungContext, RungFactory } from './rung';
import { StallGuard } from './stall';
import { StillsRung } from './stills';
import { RUNGS } from './types';
import type { PlayerState, PlayerStats, PlayerStatus, Reason, RungName, SourceState } from './types';
import { WebRTCRung } from './webrtc';

export interface PlayerOptions {
  /**
   * The element to fill. It needs a size of its own; the player keeps its
   * attributes data-camera, data-state and data-rung true.
   */
  element: HTMLElement;
  camera: string;
  /** The server's address; default: where the page came from. */
  baseURL?: string;
  /** Goes with every request, for pages that have no cookie. */
  token?: string;
  /** The rungs that may be used; default: all. */
  rungs?: readonly RungName[];
  /** The best rung wanted; default: the first of rungs. */
  prefer?: RungName;
  /** Pixels that stills are asked for; default 0: the camera's own width. */
  stillsWidth?: number;
  /** Ms in a hidden page after which everything is closed until it is visible again; default 30 s. */
  pauseHidden?: number;
  /** Whether the sound is off; default: it is. */
  muted?: boolean;
  onState?: (status: PlayerStatus) => void;
  /** Called once a second while pictures come. Statistics cost nothing when this is missing. */
  onStats?: (stats: PlayerStats) => void;
  /** The browser has switched the sound off: it wants a gesture first. */
  onSilenced?: () => void;
}

/** What tests put in place of the browser. */
export interface PlayerParts {
  rung?: RungFactory;
  ladder?: Partial<LadderSettings>;
}

const STATS_INTERVAL = 1000;
const PAUSE_HIDDEN = 30_000;

/**
 * Shows one camera in one element by the best way there is, for ever: it falls
 * back, climbs back, survives the server, the network and the camera going
 * away, and rests while nobody looks.
 */
export class Player {
  readonly #options: PlayerOptions;
  readonly #make: RungFactory;
  readonly #ladder: Ladder;
  readonly #urls: Urls;
  readonly #clock = new ClockSync();
  readonly #stall = new StallGuard();
  readonly #open = new Map<RungName, Rung>();
  readonly #leave = new AbortController();
  /** The surface on the screen; it outlives its rung as the last picture. */
  #face: HTMLElement | null = null;
  /** The rung whose pace the stall guard knows. */
  #paceOf: RungName | null = null;
  #source: { state: SourceState; reason?: string; from: RungName | null } | null = null;
  #status: PlayerStatus = { state: 'connecting', rung: null };
  #shownOnce = false;
  #muted: boolean;
  #wake: ReturnType<typeof setTimeout> | undefined;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #statsTimer: ReturnType<typeof setInterval> | undefined;
  #destroyed = false;

  constructor(options: PlayerOptions, parts: PlayerParts = {}) {
    this.#options = options;
    this.#muted = options.muted ?? true;
    this.#make = parts.rung ?? makeRung;
    const rungs = options.rungs ?? RUNGS;
    this.#ladder = new Ladder(rungs, options.prefer ?? rungs[0] ?? 'webrtc', parts.ladder);
    this.#urls = new Urls(new URL(options.baseURL ?? '/', location.href).href, options.camera, options.token);
    options.element.dataset['camera'] = options.camera;
    this.#publish(this.#status);
    this.#listen();
    if (options.onStats) this.#statsTimer = setInterval(() => void this.#tellStats(), STATS_INTERVAL);
    if (!document.hidden) this.#do(this.#ladder.start(performance.now()));
  }

  get status(): PlayerStatus {
    return this.#status;
  }

  /** Changes the best rung wanted, without losing the picture on the screen. */
  prefer(rung: RungName): void {
    this.#do(this.#ladder.setTop(rung, performance.now()));
  }

  /**
   * Tells what is known of the camera from elsewhere, such as the camera list.
   * A rung that hears it from the server itself knows better.
   */
  setSource(state: SourceState, reason?: string): void {
    if (this.#destroyed || this.#source?.from) return;
    const back = this.#learn(state, reason, null);
    if (back && this.#ladder.shown === null) this.retry();
    else this.#refresh();
  }

  get muted(): boolean {
    return this.#muted;
  }

  /** Switches the sound. Where the way of transport has none, it waits for one that has. */
  setMuted(muted: boolean): void {
    this.#muted = muted;
    this.#sound();
  }

  /** The video on the screen, for picture in picture; null for other surfaces. */
  get video(): HTMLVideoElement | null {
    return this.#face instanceof HTMLVideoElement ? this.#face : null;
  }

  /** Does not wait for the next try. */
  retry(): void {
    this.#do(this.#ladder.nudge(performance.now()));
  }

  /** The picture on the screen as a JPEG, or null when there is none. */
  picture(): Promise<Blob | null> {
    const face = this.#face;
    const copy =
      face instanceof HTMLVideoElement || face instanceof HTMLCanvasElement ? copyOf(face) : null;
    if (!copy) return Promise.resolve(null);
    return new Promise((resolve) => copy.toBlob(resolve, 'image/jpeg', 0.92));
  }

  /** Closes everything and empties the element. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#leave.abort();
    clearTimeout(this.#wake);
    clearTimeout(this.#pause);
    clearInterval(this.#statsTimer);
    for (const rung of this.#open.values()) {
      rung.stop();
      rung.surface.remove();
    }
    this.#open.clear();
    this.#face?.remove();
    this.#face = null;
    const { element } = this.#options;
    for (const name of ['camera', 'state', 'rung']) element.removeAttribute('data-' + name);
  }

  #listen(): void {
    const { signal } = this.#leave;
    addEventListener('online', () => this.#retryWhenVisible(), { signal });
    document.addEventListener('visibilitychange', () => this.#visibility(), { signal });
    // A page that comes back from the browser's back-forward cache has dead sockets.
    addEventListener('pageshow', (e) => (e.persisted ? this.#restart() : undefined), { signal });
  }

  #retryWhenVisible(): void {
    if (!document.hidden) this.retry();
  }

  #visibility(): void {
    clearTimeout(this.#pause);
    const now = performance.now();
    if (!document.hidden) {
      // Nothing was drawn while hidden: that is no stall.
      this.#stall.resume(now);
      this.#do([...this.#ladder.start(now), ...this.#ladder.nudge(now)]);
      return;
    }
    this.#pause = setTimeout(() => this.#rest(), this.#options.pauseHidden ?? PAUSE_HIDDEN);
  }

  #rest(): void {
    // A page in the background may still show its picture in picture.
    const floating = document.pictureInPictureElement;
    if (floating && this.#options.element.contains(floating)) return;
    this.#do(this.#ladder.stop(performance.now()));
  }

  #restart(): void {
    const now = performance.now();
    this.#do(this.#ladder.stop(now));
    this.#do(this.#ladder.start(now));
  }

  #do(actions: readonly Action[]): void {
    if (this.#destroyed) return;
    for (const action of actions) {
      if (action.do === 'open') this.#openRung(action.rung);
      else this.#closeRung(action.rung);
    }
    this.#showBest();
    this.#refresh();
  }

  #openRung(name: RungName): void {
    const context: RungContext = {
      camera: this.#options.camera,
      url: this.#urls,
      clock: this.#clock,
      stillsWidth: this.#options.stillsWidth ?? 0,
      events: {
        picture: () => this.#picture(name),
        source: (state, reason) => this.#heard(name, state, reason),
        down: (reason) => this.#down(name, reason),
        silenced: () => this.#silenced(),
      },
    };
    const rung = this.#make(name, context);
    this.#open.set(name, rung);
    rung.surface.setAttribute('aria-hidden', 'true');
    rung.surface.tabIndex = -1;
    this.#options.element.append(rung.surface);
    rung.start();
  }

  #closeRung(name: RungName): void {
    const rung = this.#open.get(name);
    if (!rung) return;
    this.#open.delete(name);
    // What it said of the camera would only grow old.
    if (this.#source?.from === name) this.#source = null;
    if (this.#face === rung.surface) this.#keepPicture(rung.surface);
    rung.stop();
    rung.surface.remove();
  }

  /** Leaves a copy of the last picture in place of a surface that goes away. */
  #keepPicture(surface: HTMLVideoElement | HTMLCanvasElement): void {
    const copy = copyOf(surface);
    this.#face = copy;
    if (!copy) return;
    copy.setAttribute('aria-hidden', 'true');
    copy.dataset['shown'] = '';
    this.#options.element.append(copy);
  }

  #showBest(): void {
    const name = this.#ladder.shown;
    const rung = name === null ? undefined : this.#open.get(name);
    if (!rung || rung.surface === this.#face) return;
    const old = this.#face;
    rung.surface.dataset['shown'] = '';
    this.#face = rung.surface;
    this.#sound();
    if (this.#paceOf === name) this.#stall.resume(performance.now());
    else this.#stall.reset();
    this.#paceOf = name;
    if (!old) return;
    delete old.dataset['shown'];
    if (![...this.#open.values()].some((r) => r.surface === old)) old.remove();
  }

  /** Only what is on the screen is heard. */
  #sound(): void {
    for (const rung of this.#open.values()) rung.setMuted?.(this.#muted || rung.surface !== this.#face);
  }

  #silenced(): void {
    this.#muted = true;
    this.#options.onSilenced?.();
  }

  #picture(name: RungName): void {
    const now = performance.now();
    this.#shownOnce = true;
    const wasShown = this.#ladder.shown === name;
    if (!wasShown) this.#do(this.#ladder.picture(name, now));
    if (this.#ladder.shown !== name) return;
    this.#stall.picture(now);
    if (!wasShown || this.#status.state !== 'live') this.#refresh();
  }

  #heard(name: RungName, state: SourceState, reason?: string): void {
    this.#learn(state, reason, name);
    this.#do(this.#ladder.held(name, isDark(state), performance.now()));
  }

  /** Takes note of the camera's state and says whether it has just come back. */
  #learn(state: SourceState, reason: string | undefined, from: RungName | null): boolean {
    const back = isDark(this.#source?.state) && !isDark(state);
    this.#source = reason ? { state, reason, from } : { state, from };
    // The pictures are on their way: no stall yet.
    if (back) this.#stall.resume(performance.now());
    return back;
  }

  #down(name: RungName, reason: Reason): void {
    this.#do(this.#ladder.down(name, reason, performance.now()));
  }

  /** Brings state and timer in line with everything that is known. */
  #refresh(): void {
    if (this.#destroyed) return;
    const now = performance.now();
    const shown = this.#ladder.shown;
    if ((shown === 'webrtc' || shown === 'mse') && this.#frozen(now)) {
      this.#stall.restarted();
      this.#do(this.#ladder.down(shown, { code: 'frozen' }, now));
      return;
    }
    this.#publish(this.#derive(now));
    clearTimeout(this.#wake);
    const stallAt = shown !== null && !document.hidden ? (this.#stall.deadline ?? Infinity) : Infinity;
    const at = Math.min(this.#ladder.nextAt, stallAt > now ? stallAt : Infinity);
    if (at < Infinity) this.#wake = setTimeout(() => this.#tick(), Math.max(1, Math.ceil(at - now)));
  }

  #tick(): void {
    this.#do(this.#ladder.tick(performance.now()));
  }

  /** Whether the connection stands, the camera is said to be well, and yet nothing moves. */
  #frozen(now: number): boolean {
    return !document.hidden && this.#stall.stalled(now) && !isDark(this.#source?.state);
  }

  #derive(now: number): PlayerStatus {
    const rung = this.#ladder.shown;
    const why = this.#ladder.why;
    const make = (state: PlayerState, reason?: Reason): PlayerStatus => ({
      state,
      rung,
      ...(reason && { reason }),
      ...(why && { why }),
    });
    const final = this.#ladder.final;
    if (final) return make('failed', final);
    if (rung !== null && !(this.#stall.stalled(now) && !document.hidden)) return make('live');
    if (isDark(this.#source?.state)) return this.#dark(make);
    if (rung !== null) return make('stalled', { code: 'frozen' });
    const reason = this.#ladder.reason;
    if (reason?.code === 'frozen' && !this.#ladder.failing) return make('stalled', reason);
    if (reason && (this.#shownOnce || reason.code === 'unreachable')) return make('lost', reason);
    return make('connecting', reason);
  }

  #dark(make: (state: PlayerState, reason?: Reason) => PlayerStatus): PlayerStatus {
    const detail = this.#source?.reason;
    const reason: Reason = detail ? { code: 'camera', detail } : { code: 'camera' };
    switch (this.#source?.state) {
      case 'failed':
      case 'disabled':
        return make('failed', reason);
      case 'lost':
        return make('lost', reason);
      default:
        return make(this.#shownOnce ? 'lost' : 'connecting', reason);
    }
  }

  #publish(status: PlayerStatus): void {
    const same = JSON.stringify(status) === JSON.stringify(this.#status);
    this.#status = status;
    const { dataset } = this.#options.element;
    // Whoever observes the attributes wants to hear of changes only.
    if (dataset['state'] !== status.state) dataset['state'] = status.state;
    if (dataset['rung'] !== (status.rung ?? '')) dataset['rung'] = status.rung ?? '';
    if (!same) this.#options.onState?.(status);
  }

  async #tellStats(): Promise<void> {
    const shown = this.#ladder.shown;
    const rung = shown === null ? undefined : this.#open.get(shown);
    if (!rung) return;
    const stats = await rung.stats();
    if (!this.#destroyed && this.#ladder.shown === shown) this.#options.onStats?.(stats);
  }
}

/** Whether a camera in this state has nothing to show. An idle one wakes up for us. */
function isDark(state: SourceState | undefined): boolean {
  return state !== undefined && state !== 'live' && state !== 'idle';
}

function makeRung(name: RungName, context: RungContext): Rung {
  switch (name) {
    case 'webrtc':
      return new WebRTCRung(context);
    case 'mse':
      return new MseRung(context);
    case 'mjpeg':
      return new MjpegRung(context);
    case 'stills':
      return new StillsRung(context);
  }
}
