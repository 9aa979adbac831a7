/**
 * How pictures leave the device. live: WebRTC (WHIP); stream: JPEG over a
 * WebSocket; snapshot: one JPEG now and then, gentle on the battery.
 */
export const MODES = ['live', 'stream', 'snapshot'] as const;
export type Mode = (typeof MODES)[number];

export type Facing = 'environment' | 'user';

/** Pixels of the long side. */
export const RESOLUTIONS = [640, 1280, 1920] as const;
export type Resolution = (typeof RESOLUTIONS)[number];

export const QUALITIES = ['low', 'medium', 'high'] as const;
export type Quality = (typeof QUALITIES)[number];

/** Seconds between two pictures of the mode snapshot. */
export const SHORTEST_INTERVAL = 1;
export const LONGEST_INTERVAL = 30;

/**
 * idle: nothing is open; starting: camera and first connection are on their
 * way; live: pictures arrive at the server; reconnecting: they did, and it is
 * being tried again; failed: somebody has to do something (see the reason).
 */
export type PublisherState = 'idle' | 'starting' | 'live' | 'reconnecting' | 'failed';

/**
 * Why something is as it is. The code is for translation, the detail is the
 * server's or the browser's own words and may be missing.
 */
export type PublishCode =
  | 'insecure' // the page came by plain HTTP: browsers give it no camera
  | 'unsupported' // this browser cannot do it
  | 'denied' // the person or a setting does not allow the camera
  | 'no-camera'
  | 'camera-busy' // another app has it
  | 'camera-lost' // it was there and has gone
  | 'camera' // the browser could not open it for another reason, see the detail
  | 'bad-id'
  | 'unauthorized'
  | 'forbidden'
  | 'busy' // somebody else publishes under this id
  | 'refused' // the server said no, see the detail
  | 'full' // the server takes no more for now
  | 'unreachable' // the server does not answer
  | 'ice' // no path for the media packets
  | 'closed' // the server ended the connection
  | 'broken'; // the answer could not be used, see the detail

export interface PublishReason {
  readonly code: PublishCode;
  readonly detail?: string;
}

/** Why the microphone, which was asked for, is not heard. */
export type MicTrouble = 'denied' | 'missing';

export interface PublisherStatus {
  readonly state: PublisherState;
  /** Why the state is not live. */
  readonly reason?: PublishReason;
  readonly mode: Mode;
  /** What the camera shows, for a preview; null while it is closed. */
  readonly preview: MediaStream | null;
  readonly facing: Facing;
  /** Whether there is more than one camera to switch between. */
  readonly canSwitch: boolean;
  /** Whether the light can be switched, and is on. */
  readonly torch: boolean | null;
  /** The range of the zoom, null where there is none. */
  readonly zoom: ZoomRange | null;
  readonly mic: 'off' | 'on' | 'muted' | MicTrouble;
  /** Whether the screen is kept from going dark. */
  readonly awake: boolean;
}

export interface ZoomRange {
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly value: number;
}

/** Numbers since the start; what is not known is missing. */
export interface PublisherStats {
  frames: number;
  bytes: number;
  /** Pictures per second and bits per second now. */
  fps?: number;
  bitrate?: number;
  /** Device to server and back, in ms. */
  rtt?: number;
  /** Share of the packets that did not arrive, 0 to 1. */
  loss?: number;
  /** Of what is sent, in pixels. */
  width?: number;
  height?: number;
  codec?: string;
  /** What makes the encoder send less than was asked for. */
  limit?: 'cpu' | 'bandwidth';
}

/** What may change while it is live. */
export interface PublisherSettings {
  readonly mode: Mode;
  readonly facing: Facing;
  readonly resolution: Resolution;
  readonly quality: Quality;
  /** Whether sound is sent as well; mode live only. */
  readonly mic: boolean;
  /** Seconds between two pictures; mode snapshot only. */
  readonly interval: number;
  /** Whether a smaller rendering goes along for viewers with less room; mode live only. */
  readonly simulcast: boolean;
}

export const DEFAULTS: PublisherSettings = {
  mode: 'live',
  facing: 'environment',
  resolution: 1280,
  quality: 'medium',
  mic: false,
  interval: 5,
  simulcast: false,
};

/** Reasons that no second try will mend. */
export function isFinal(reason: PublishReason): boolean {
  switch (reason.code) {
    case 'full':
    case 'unreachable':
    case 'ice':
    case 'closed':
    case 'broken':
    case 'camera-lost':
      return false;
    default:
      return true;
  }
}

/** Makes a reason; a detail that says nothing is left out. */
export function because(code: PublishCode, detail?: string): PublishReason {
  return detail ? { code, detail } : { code };
}
