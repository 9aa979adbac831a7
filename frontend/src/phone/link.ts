import { errorText } from '../player/http';
import { because } from './types';
import type { PublishReason, PublisherStats, Quality } from './types';

/** What a link tells. It calls nothing from within start() and stop(), and nothing after stop(). */
export interface LinkEvents {
  /** Pictures arrive at the server, as far as that can be known. */
  up(): void;
  /** The link has ended by itself, once. */
  down(reason: PublishReason): void;
}

/**
 * One connection that carries pictures to the server. It never tries again: it
 * works until it reports down or is stopped.
 */
export interface Link {
  start(): void;
  /** Releases everything but the tracks, which are not its own. */
  stop(): void;
  /** Another camera; null while there is none. The connection stays. */
  setVideo(track: MediaStreamTrack | null): Promise<void>;
  /** The microphone for as long as the link lives; false: that needs a new link. */
  setAudio(track: MediaStreamTrack | null): Promise<boolean>;
  setQuality(quality: Quality, resolution: number): void;
  /** Whether it looks alive right now, asked when the device has woken up. */
  alive(): boolean;
  /** Numbers of this link alone. */
  stats(): Promise<PublisherStats>;
}

/** Where a link leads, and as what. */
export interface LinkTarget {
  readonly id: string;
  /** Ends whoever publishes under this id now. */
  readonly takeover: boolean;
  /** Absolute addresses of the server. */
  readonly url: (path: string) => URL;
}

/** What an answer other than 2xx means. Reads the body. */
export async function refused(response: Response, takeover: boolean): Promise<PublishReason> {
  const detail = await errorText(response);
  switch (response.status) {
    case 401:
      return because('unauthorized', detail);
    case 403:
      return because('forbidden', detail);
    case 409:
      // After a take-over it is not somebody else who is in the way.
      return because(takeover ? 'refused' : 'busy', detail);
    case 406:
    case 415:
      return because('unsupported', detail);
    case 429:
    case 503:
      return because('full', detail);
    case 408:
    case 500:
    case 502:
    case 504:
      // A server that starts, or a proxy whose server is not there.
      return because('unreachable', detail);
    default:
      return because('refused', detail);
  }
}

/** Bits per second of the video, by the pixels of its long side. */
export function bitrate(quality: Quality, resolution: number): number {
  const perPixel = { low: 0.045, medium: 0.1, high: 0.22 }[quality];
  const pixels = resolution * resolution * (9 / 16);
  return Math.round((pixels * 30 * perPixel) / 1000) * 1000;
}

/** Quality of JPEG pictures, 0 to 1. */
export function jpegQuality(quality: Quality): number {
  return { low: 0.5, medium: 0.7, high: 0.85 }[quality];
}

export function words(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}
