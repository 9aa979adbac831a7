import { Awake } from './awake';
import { Camera, CameraError, cameraObstacle, cameraReason } from './camera';
import { validId } from './device';
import { VideoGrabber } from './grabber';
import type { Grabber } from './grabber';
import { words } from './link';
import type { Link, LinkEvents, LinkTarget } from './link';
import { Redial } from './redial';
import type { RedialSettings } from './redial';
import { SnapshotLink } from './snapshot';
import { StreamLink } from './stream';
import { DEFAULTS, because } from './types';
import type { Facing, MicTrouble, Mode, PublishReason, PublisherSettings, PublisherStats, PublisherStatus } from './types';
import { WhipLink } from './whip';

export interface PublisherOptions {
  /** The camera that the server makes of it: 1 to 64 letters, digits, _ and -. */
  readonly id: string;
  readonly settings?: Partial<PublisherSettings>;
  /** The server's address; default: where the page came from. */
  readonly baseURL?: string;
  /** Ends whoever publishes under the id, at each try; default: only takeOver does. */
  readonly takeover?: boolean;
  /** How the microphone is asked for; default: as the browser likes it. */
  readonly audio?: MediaTrackConstraints;
  readonly onStatus?: (status: PublisherStatus) => void;
  /** Called once a second while it runs. */
  readonly onStats?: (stats: PublisherStats) => void;
}

/** What a link is made of. */
export interface LinkParts {
  readonly target: LinkTarget;
  readonly settings: PublisherSettings;
  readonly video: MediaStreamTrack;
  readonly audio: MediaStreamTrack | null;
  readonly sessions: Map<string, Promise<void> | null>;
  readonly events: LinkEvents;
}

/** What tests put in place of the browser. */
export interface PublisherParts {
  readonly link?: (parts: LinkParts) => Link;
  readonly redial?: Partial<RedialSettings>;
}

const STATS_INTERVAL = 1000;
/** Pictures per second that the camera is asked for. */
const FPS = { live: 30, stream: 15, snapshot: 5 } as const;
/**
 * For so long (ms) after a link of ours an id that is taken may be taken by
 * ourselves: the server has not noticed yet that the old link is dead. Between
 * two links of the mode live there is no doubt: the new one ends the old one.
 */
const OWN_GHOST = 8000;

/**
 * Makes a camera of this device: opens it, sends what it sees, and keeps on
 * doing so through sleep, other networks and a server that starts again. It
 * ends when it is told to, or when only a person can help.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #make: (parts: LinkParts) => Link;
  readonly #redial: Redial;
  readonly #camera: Camera;
  readonly #awake: Awake;
  readonly #base: URL;
  readonly #leave = new AbortController();
  /** Sessions of ours that the server may still hold. */
  readonly #sessions = new Map<string, Promise<void> | null>();
  #settings: PublisherSettings;
  #link: Link | null = null;
  #mic: MediaStreamTrack | null = null;
  #micTrouble: MicTrouble | null = null;
  #muted = false;
  #preview: MediaStream | null = null;
  #status: PublisherStatus;
  #attempt = 0;
  #everUp = false;
  #takeover = false;
  /** Whether the link was made for settings that are no longer wanted. */
  #stale = false;
  /** Whether the link that there is has been up. */
  #linkUp = false;
  #linkMode: Mode | null = null;
  #ghostUntil = 0;
  #ghostMode: Mode | null = null;
  #wake: ReturnType<typeof setTimeout> | undefined;
  #statsTimer: ReturnType<typeof setInterval> | undefined;
  /** What the links before this one have sent, and what this one had when asked last. */
  #before = { frames: 0, bytes: 0 };
  #latest = { frames: 0, bytes: 0 };
  #destroyed = false;

  constructor(options: PublisherOptions, parts: PublisherParts = {}) {
    this.#options = options;
    this.#make = parts.link ?? makeLink;
    this.#redial = new Redial(parts.redial);
    this.#settings = { ...DEFAULTS, ...options.settings };
    this.#base = new URL(options.baseURL ?? '/', location.href);
    this.#awake = new Awake(() => this.#refresh());
    this.#camera = new Camera({
      lost: () => this.#down(because('camera-lost')),
      changed: () => this.#refresh(),
    });
    this.#status = this.#derive();
    this.#listen();
  }

  get status(): PublisherStatus {
    return this.#status;
  }

  get settings(): PublisherSettings {
    return this.#settings;
  }

  /** Begins, or begins anew after a failure. */
  start(): void {
    this.#begin(false);
  }

  /** Begins, and ends whoever publishes under this id. */
  takeOver(): void {
    this.#begin(true);
  }

  #begin(takeover: boolean): void {
    if (this.#destroyed || this.#running()) return;
    this.#takeover = takeover;
    this.#everUp = false;
    this.#before = { frames: 0, bytes: 0 };
    this.#redial.start();
    const obstacle = cameraObstacle() ?? (validId(this.#options.id) ? null : because('bad-id'));
    if (obstacle) {
      this.#redial.down(obstacle, performance.now());
      this.#settle();
      return;
    }
    this.#awake.take();
    if (this.#options.onStats) this.#statsTimer ??= setInterval(() => void this.#tellStats(), STATS_INTERVAL);
    this.#dial();
  }

  /** Closes the camera and the connection. */
  stop(): void {
    this.#redial.stop();
    this.#settle();
  }

  /** Stops for good. */
  destroy(): void {
    if (this.#destroyed) return;
    this.stop();
    this.#destroyed = true;
    this.#leave.abort();
  }

  /** Changes settings; what can be changed without a new connection is. */
  set(change: Partial<PublisherSettings>): void {
    const old = this.#settings;
    const now = { ...old, ...change };
    this.#settings = now;
    if (!this.#running()) {
      this.#refresh();
      return;
    }
    const mode = now.mode !== old.mode;
    const simulcast = now.mode === 'live' && now.simulcast !== old.simulcast;
    if (mode || simulcast) this.#stale = true;
    // Each mode asks the camera for another pace.
    if (mode || now.facing !== old.facing || now.resolution !== old.resolution) void this.#turn(this.#camera.facing);
    else if (this.#stale) this.#again();
    else if (now.mic !== old.mic) void this.#changeMic();
    this.#link?.setQuality(now.quality, now.resolution);
    if (this.#link instanceof SnapshotLink && now.interval !== old.interval) this.#link.setPace(now.interval);
    this.#refresh();
  }

  /** The other camera. The connection stays. */
  switchCamera(): void {
    this.set({ facing: this.#camera.facing === 'user' ? 'environment' : 'user' });
  }

  setTorch(on: boolean): void {
    void this.#camera.setTorch(on);
  }

  setZoom(value: number): void {
    void this.#camera.setZoom(value);
  }

  /** Silences the microphone without giving it back. */
  mute(muted: boolean): void {
    this.#muted = muted;
    if (this.#mic) this.#mic.enabled = !muted;
    this.#refresh();
  }

  #running(): boolean {
    return this.#redial.phase !== 'off' && this.#redial.phase !== 'failed';
  }

  #listen(): void {
    const { signal } = this.#leave;
    addEventListener('online', () => this.#look(), { signal });
    document.addEventListener('visibilitychange', () => document.hidden || this.#look(), { signal });
    document.addEventListener('resume', () => this.#look(), { signal });
    const network = (navigator as { connection?: EventTarget }).connection;
    network?.addEventListener('change', () => this.#look(), { signal });
    // The server should not have to find out by itself that the page has gone.
    addEventListener('pagehide', () => this.#closeLink(), { signal });
    addEventListener('pageshow', (e) => e.persisted && this.#look(), { signal });
  }

  /** Somebody looks, or the network is another: is all well? */
  #look(): void {
    if (!this.#running()) return;
    this.#awake.take();
    if (this.#redial.phase === 'up' && !this.#link?.alive()) this.#down(because('closed'));
    if (this.#redial.nudge()) this.#dial();
    this.#refresh();
  }

  #dial(): void {
    const attempt = ++this.#attempt;
    this.#closeLink();
    this.#refresh();
    void this.#connect(attempt).catch((err: unknown) => {
      if (attempt === this.#attempt) this.#down(because('broken', words(err)));
    });
  }

  async #connect(attempt: number): Promise<void> {
    if (!this.#camera.track && !(await this.#openCamera(attempt))) return;
    await this.#openMic();
    const video = this.#camera.track;
    if (attempt !== this.#attempt) return;
    if (!video) {
      this.#down(because('camera-lost'));
      return;
    }
    const id = this.#options.id;
    const takeover = this.#takeover || this.#options.takeover === true;
    const link = this.#make({
      target: { id, takeover, url: (path) => new URL(path, this.#base) },
      settings: this.#settings,
      video,
      audio: this.#settings.mode === 'live' ? this.#mic : null,
      sessions: this.#sessions,
      events: {
        up: () => this.#link === link && this.#connected(),
        down: (reason) => this.#link === link && this.#down(reason),
      },
    });
    this.#link = link;
    this.#linkMode = this.#settings.mode;
    this.#stale = false;
    link.start();
  }

  /** Reports whether the camera is open and still wanted. */
  async #openCamera(attempt: number): Promise<boolean> {
    const { facing, resolution, mode } = this.#settings;
    try {
      const open = await this.#camera.open({ facing, resolution, fps: FPS[mode] });
      return open && attempt === this.#attempt;
    } catch (err) {
      if (!(err instanceof CameraError)) throw err;
      if (attempt === this.#attempt) this.#cameraFailed(err.reason);
      return false;
    }
  }

  /** A camera that was there may come back; one that never was will not. */
  #cameraFailed(reason: PublishReason): void {
    const back = this.#everUp && (reason.code === 'camera-busy' || reason.code === 'no-camera');
    this.#down(back ? because('camera-lost', reason.detail) : reason);
  }

  #connected(): void {
    this.#everUp = this.#linkUp = true;
    this.#takeover = false;
    this.#redial.up(performance.now());
    this.#refresh();
  }

  #down(reason: PublishReason): void {
    const now = performance.now();
    const certain = this.#ghostMode === 'live' && this.#linkMode === 'live';
    const ghost = reason.code === 'busy' && now < this.#ghostUntil && !certain;
    this.#attempt++;
    this.#closeLink();
    this.#redial.down(reason, now, ghost ? false : undefined);
    this.#settle();
  }

  /** A new link with the camera as it is. */
  #again(): void {
    if (!this.#running()) return;
    this.#redial.start();
    this.#dial();
  }

  /**
   * Brings another camera, or the same in another size, into the link that
   * there is. The fallback is the facing that worked before.
   */
  async #turn(fallback: Facing | null): Promise<void> {
    const { facing, resolution, mode } = this.#settings;
    try {
      if (!(await this.#camera.open({ facing, resolution, fps: FPS[mode] }))) return;
    } catch (err) {
      const reason = err instanceof CameraError ? err.reason : because('camera', words(err));
      if (fallback === null || fallback === facing) {
        this.#cameraFailed(reason);
        return;
      }
      this.#settings = { ...this.#settings, facing: fallback };
      await this.#turn(null);
      return;
    }
    const link = this.#link;
    // Without a link the camera has come in the middle of a try, and ended it.
    if (this.#stale || (!link && this.#redial.phase === 'dialing')) {
      this.#again();
      return;
    }
    if (!link) return;
    link.setQuality(this.#settings.quality, this.#settings.resolution);
    try {
      await link.setVideo(this.#camera.track);
    } catch (err) {
      if (this.#link === link) this.#down(because('broken', words(err)));
    }
    this.#refresh();
  }

  async #openMic(): Promise<void> {
    if (!this.#settings.mic || this.#settings.mode !== 'live') {
      this.#closeMic();
      return;
    }
    if (this.#mic?.readyState === 'live') return;
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: this.#options.audio ?? true });
    } catch (err) {
      // Pictures without sound are better than none.
      this.#micTrouble = cameraReason(err).code === 'denied' ? 'denied' : 'missing';
      return;
    }
    const track = stream.getAudioTracks()[0] ?? null;
    // It may not be wanted any more.
    if (!this.#settings.mic || !this.#running() || this.#mic) {
      track?.stop();
      return;
    }
    this.#mic = track;
    this.#micTrouble = null;
    if (track) track.enabled = !this.#muted;
  }

  #closeMic(): void {
    this.#mic?.stop();
    this.#mic = null;
    this.#micTrouble = null;
  }

  async #changeMic(): Promise<void> {
    await this.#openMic();
    const link = this.#link;
    // Sound that was not offered needs another offer.
    if (link && !(await link.setAudio(this.#mic)) && this.#link === link) this.#again();
    this.#refresh();
  }

  #closeLink(): void {
    const link = this.#link;
    this.#link = null;
    if (!link) return;
    link.stop();
    if (this.#linkUp) {
      this.#ghostUntil = performance.now() + OWN_GHOST;
      this.#ghostMode = this.#linkMode;
    }
    this.#linkUp = false;
    this.#before = { frames: this.#before.frames + this.#latest.frames, bytes: this.#before.bytes + this.#latest.bytes };
    this.#latest = { frames: 0, bytes: 0 };
  }

  /** Gives back what the phase does not need, and waits for what comes. */
  #settle(): void {
    clearTimeout(this.#wake);
    const { phase, nextAt } = this.#redial;
    if (phase === 'off' || phase === 'failed') {
      this.#attempt++;
      this.#closeLink();
      this.#camera.close();
      this.#closeMic();
      this.#awake.release();
      clearInterval(this.#statsTimer);
      this.#statsTimer = undefined;
    } else if (nextAt < Infinity) {
      this.#wake = setTimeout(() => this.#tick(), Math.max(1, Math.ceil(nextAt - performance.now())));
    }
    this.#refresh();
  }

  #tick(): void {
    if (this.#redial.tick(performance.now())) this.#dial();
    else this.#settle();
  }

  #derive(): PublisherStatus {
    const { phase, reason } = this.#redial;
    const track = this.#camera.track;
    if (this.#preview?.getVideoTracks()[0] !== (track ?? undefined)) this.#preview = track && new MediaStream([track]);
    const states = { off: 'idle', up: 'live', failed: 'failed' } as const;
    const state =
      phase === 'dialing' || phase === 'waiting' ? (this.#everUp ? 'reconnecting' : 'starting') : states[phase];
    return {
      state,
      ...(reason && { reason }),
      mode: this.#settings.mode,
      preview: this.#preview,
      facing: this.#camera.facing,
      canSwitch: this.#camera.canSwitch,
      torch: this.#camera.torch,
      zoom: this.#camera.zoom,
      mic: this.#micTrouble ?? (!this.#mic ? 'off' : this.#muted ? 'muted' : 'on'),
      awake: this.#awake.held,
    };
  }

  #refresh(): void {
    if (this.#destroyed) return;
    this.#status = this.#derive();
    this.#options.onStatus?.(this.#status);
  }

  async #tellStats(): Promise<void> {
    const link = this.#link;
    const stats = (await link?.stats()) ?? { frames: 0, bytes: 0 };
    if (this.#destroyed || this.#link !== link || this.#redial.phase === 'off') return;
    this.#latest = { frames: stats.frames, bytes: stats.bytes };
    this.#options.onStats?.({
      ...stats,
      frames: this.#before.frames + stats.frames,
      bytes: this.#before.bytes + stats.bytes,
    });
  }
}

function makeLink({ target, settings, video, audio, sessions, events }: LinkParts): Link {
  const { mode, quality, resolution, simulcast, interval } = settings;
  if (mode === 'live') {
    return new WhipLink(target, { video, audio, quality, resolution, simulcast, sessions }, events);
  }
  const grabber: Grabber = new VideoGrabber();
  const pictures = { grabber, track: video, quality, resolution };
  return mode === 'stream'
    ? new StreamLink(target, pictures, events)
    : new SnapshotLink(target, { ...pictures, interval }, events);
}
