/** The ways a picture can reach the page, best first. */
export const RUNGS = ['webrtc', 'mse', 'mjpeg', 'stills'] as const;
export type RungName = (typeof RUNGS)[number];

/**
 * What the person in front of the page sees:
 * connecting: no picture yet; live: pictures arrive; stalled: the connection
 * stands but the picture does not move; lost: camera or server are away, and it
 * is being tried again; failed: somebody has to do something (see the reason).
 */
export type PlayerState = 'connecting' | 'live' | 'stalled' | 'lost' | 'failed';

/**
 * Why something is as it is. The code is for translation, the detail is the
 * server's own words and may be missing.
 */
export type ReasonCode =
  | 'asked' // the page asked for no better rung
  | 'slow' // the better rung has not delivered in time yet
  | 'unsupported' // this browser cannot do it
  | 'unreachable' // the server does not answer at all
  | 'signaling' // the signaling WebSocket does not open or has closed
  | 'silent' // the connection stands but nothing comes through it
  | 'ice' // no path for the media packets
  | 'no-picture' // connected, yet no picture in time
  | 'frozen' // pictures came and stopped
  | 'refused' // the server said no, see the detail
  | 'unauthorized'
  | 'unknown-camera'
  | 'decode' // the browser cannot read what it got
  | 'camera'; // the camera itself is away, see the detail

export interface Reason {
  readonly code: ReasonCode;
  readonly detail?: string;
}

/** What the server says of the camera itself. */
export type SourceState = 'idle' | 'connecting' | 'live' | 'lost' | 'failed' | 'disabled';

export interface PlayerStatus {
  readonly state: PlayerState;
  /** Why the state is not live. */
  readonly reason?: Reason;
  /** The rung whose pictures are on the screen, or null. */
  readonly rung: RungName | null;
  /** Why it is not the best rung; missing when it is. */
  readonly why?: Reason;
}

/** Numbers of the rung on the screen; what is not known is missing. */
export interface PlayerStats {
  /** From capture to screen, in ms, a running median. */
  delay?: number;
  /** Page to server and back, in ms. */
  rtt?: number;
  /** As the RTP registry writes it: "H264". */
  codec?: string;
  /** Pixels. */
  width?: number;
  height?: number;
  /** Pictures per second that reached the screen. */
  fps?: number;
  /** Bits per second. */
  bitrate?: number;
  /** Packets (WebRTC) or pictures (MSE, MJPEG) that never reached the screen. */
  lost?: number;
}

/** Reasons that make every other rung useless as well. */
export function isFinal(reason: Reason): boolean {
  return reason.code === 'unauthorized' || reason.code === 'unknown-camera';
}

/** Sets what is known; an optional field is missing, never undefined. */
export function put<K extends keyof PlayerStats>(stats: PlayerStats, key: K, value: PlayerStats[K] | undefined): void {
  if (value !== undefined) stats[key] = value;
}
