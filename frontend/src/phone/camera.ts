import { words } from './link';
import { because } from './types';
import type { Facing, PublishReason, ZoomRange } from './types';

/** Why the camera or the microphone cannot be had. */
export class CameraError extends Error {
  readonly reason: PublishReason;

  constructor(reason: PublishReason) {
    super(reason.detail ?? reason.code);
    this.name = 'CameraError';
    this.reason = reason;
  }
}

export interface CameraWish {
  readonly facing: Facing;
  /** Pixels of the long side. */
  readonly resolution: number;
  /** Pictures per second. */
  readonly fps: number;
}

export interface CameraEvents {
  /** The open camera has gone by itself: unplugged, or taken by another app. */
  lost(): void;
  /** What can be asked of the camera has changed. */
  changed(): void;
}

/** What browsers tell of a camera beyond the standard library's types. */
interface Extras {
  readonly torch?: boolean;
  readonly zoom?: { readonly min: number; readonly max: number; readonly step?: number } | number;
}

/** The camera of the device: one at a time, as phones have it. */
export class Camera {
  readonly #events: CameraEvents;
  #track: MediaStreamTrack | null = null;
  #wish: CameraWish | null = null;
  #turn = 0;
  #torch = false;
  #cameras = 1;

  constructor(events: CameraEvents) {
    this.#events = events;
  }

  /** The picture, null while the camera is closed or gone. */
  get track(): MediaStreamTrack | null {
    return this.#track?.readyState === 'live' ? this.#track : null;
  }

  get facing(): Facing {
    const facing = this.#track?.getSettings().facingMode;
    return facing === 'user' || facing === 'environment' ? facing : (this.#wish?.facing ?? 'environment');
  }

  get canSwitch(): boolean {
    return this.#cameras > 1;
  }

  /** Whether the light is on; null where it cannot be switched. */
  get torch(): boolean | null {
    return this.#extras().torch ? this.#torch : null;
  }

  get zoom(): ZoomRange | null {
    const range = this.#extras().zoom;
    if (typeof range !== 'object' || !(range.max > range.min)) return null;
    const now = (this.#track?.getSettings() as Extras | undefined)?.zoom;
    return {
      min: range.min,
      max: range.max,
      step: range.step || (range.max - range.min) / 100,
      value: typeof now === 'number' ? now : range.min,
    };
  }

  /**
   * Opens the camera, or another one in its place. Throws a CameraError. It
   * reports false when a later call or close() came first.
   */
  async open(wish: CameraWish): Promise<boolean> {
    const turn = ++this.#turn;
    const before = this.#track;
    const beforeId = before?.getSettings().deviceId;
    const turned = this.#wish !== null && this.#wish.facing !== wish.facing;
    // Phones lend one camera at a time: the old one has to go first.
    this.#drop();
    this.#wish = wish;
    let track = await this.#request({ ...constraints(wish), facingMode: { ideal: wish.facing } }, turn);
    const cameras = await this.#list();
    if (!track || !this.#current(turn, track)) return false;
    const sameAgain = turned && beforeId !== undefined && track.getSettings().deviceId === beforeId;
    if (sameAgain && !track.getSettings().facingMode && cameras.length > 1) {
      // A computer's cameras face nowhere: take the next one instead.
      const at = cameras.findIndex((c) => c.deviceId === beforeId);
      const next = cameras[(at + 1) % cameras.length];
      track.stop();
      track = await this.#request({ ...constraints(wish), deviceId: { exact: next?.deviceId ?? beforeId } }, turn);
      if (!track) return false;
    }
    this.#cameras = cameras.length;
    this.#keep(track);
    return true;
  }

  close(): void {
    this.#turn++;
    this.#drop();
    this.#wish = null;
  }

  async setTorch(on: boolean): Promise<void> {
    if (await this.#apply({ torch: on })) this.#torch = on;
    this.#events.changed();
  }

  async setZoom(value: number): Promise<void> {
    await this.#apply({ zoom: value });
    this.#events.changed();
  }

  async #request(video: MediaTrackConstraints, turn: number): Promise<MediaStreamTrack | null> {
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video });
    } catch (err) {
      if (turn !== this.#turn) return null;
      throw new CameraError(cameraReason(err));
    }
    const track = stream.getVideoTracks()[0];
    if (!track) throw new CameraError(because('no-camera'));
    return this.#current(turn, track) ? track : null;
  }

  /** Nothing may keep a camera open that nobody waits for any more. */
  #current(turn: number, track: MediaStreamTrack): boolean {
    if (turn === this.#turn) return true;
    track.stop();
    return false;
  }

  #keep(track: MediaStreamTrack): void {
    // Movement matters more than every line of the picture.
    if ('contentHint' in track) track.contentHint = 'motion';
    track.onended = () => {
      if (this.#track !== track) return;
      this.#drop();
      this.#events.lost();
    };
    this.#track = track;
    this.#torch = false;
    this.#events.changed();
  }

  #drop(): void {
    const track = this.#track;
    this.#track = null;
    if (!track) return;
    track.onended = null;
    track.stop();
  }

  async #list(): Promise<MediaDeviceInfo[]> {
    try {
      const devices = await navigator.mediaDevices.enumerateDevices();
      return devices.filter((d) => d.kind === 'videoinput');
    } catch {
      return [];
    }
  }

  #extras(): Extras {
    // Firefox knows no capabilities.
    return (this.track?.getCapabilities?.() ?? {}) as Extras;
  }

  async #apply(extra: { torch?: boolean; zoom?: number }): Promise<boolean> {
    try {
      await this.track?.applyConstraints({ advanced: [extra as MediaTrackConstraintSet] });
      return true;
    } catch {
      // What the camera does not do stays as it is, and is shown as it is.
      return false;
    }
  }
}

function constraints(wish: CameraWish): MediaTrackConstraints {
  return {
    width: { ideal: wish.resolution },
    height: { ideal: Math.round((wish.resolution * 9) / 16) },
    frameRate: { ideal: wish.fps },
  };
}

/** What the errors of getUserMedia mean (Media Capture and Streams section 10.3.2). */
export function cameraReason(err: unknown): PublishReason {
  switch (err instanceof Error ? err.name : '') {
    case 'NotAllowedError':
    case 'SecurityError':
      return because('denied');
    case 'NotFoundError':
    case 'OverconstrainedError':
      return because('no-camera');
    case 'NotReadableError':
    case 'AbortError':
      return because('camera-busy', words(err));
    default:
      return because('camera', words(err));
  }
}

/** Why this page can have no camera at all, null when it can. */
export function cameraObstacle(): PublishReason | null {
  if (!window.isSecureContext) return because('insecure');
  if (!navigator.mediaDevices?.getUserMedia) return because('unsupported');
  return null;
}
