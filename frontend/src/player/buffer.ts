import type { Reason } from './types';

/** So much of the past (s) is kept before it is thrown away. */
const PAST = 12;
/** The picture on the screen is left so much (s) behind it. */
const MARGIN = 1;
/** A browser that takes nothing any more while so much (bytes) waits has given up. */
const LONGEST_QUEUE = 48 << 20;

type Source = MediaSource & { streaming?: boolean };

/** The browser's own kind: iPhones have the managed one only. */
function sourceKind(): (typeof MediaSource & (new () => Source)) | undefined {
  const scope = globalThis as { ManagedMediaSource?: typeof MediaSource; MediaSource?: typeof MediaSource };
  return scope.MediaSource ?? scope.ManagedMediaSource;
}

/** Whether this browser can play what the server calls by this MIME type. */
export function canPlay(mime: string): boolean {
  return sourceKind()?.isTypeSupported(mime) ?? false;
}

export interface BufferEvents {
  /** Something new is in the buffer. */
  grown(): void;
  broken(reason: Reason): void;
}

/**
 * Feeds a video element with segments in the order in which they come, and
 * throws the past away before it fills the memory.
 */
export class SegmentBuffer {
  readonly #video: HTMLVideoElement;
  readonly #mime: string;
  readonly #events: BufferEvents;
  readonly #queue: ArrayBuffer[] = [];
  #queued = 0;
  readonly #url: string;
  readonly #source: Source;
  #buffer: SourceBuffer | null = null;
  /** Where the decoder can begin, s. */
  readonly #keys: number[] = [];
  #closed = false;

  /** Throws where the browser has no Media Source Extensions at all. */
  constructor(video: HTMLVideoElement, mime: string, events: BufferEvents) {
    this.#video = video;
    this.#mime = mime;
    this.#events = events;
    const Kind = sourceKind();
    if (!Kind) throw new Error('no MediaSource');
    this.#source = new Kind();
    this.#source.addEventListener('sourceopen', this.#opened);
    this.#url = URL.createObjectURL(this.#source);
    video.src = this.#url;
  }

  /** Takes a segment; key is its time where a decoder can begin with it. */
  push(segment: ArrayBuffer, key?: number): void {
    if (this.#closed) return;
    if (key !== undefined) this.#keys.push(key);
    this.#queue.push(segment);
    this.#queued += segment.byteLength;
    if (this.#queued > LONGEST_QUEUE) this.#break('the browser takes no more data');
    else this.#next();
  }

  /** What can be played, in order. */
  ranges(): [number, number][] {
    const { buffered } = this.#video;
    return Array.from({ length: buffered.length }, (_, i) => [buffered.start(i), buffered.end(i)]);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.length = 0;
    this.#source.removeEventListener('sourceopen', this.#opened);
    this.#buffer?.removeEventListener('updateend', this.#updated);
    this.#buffer?.removeEventListener('error', this.#failed);
    if (this.#video.src === this.#url) {
      this.#video.removeAttribute('src');
      this.#video.load();
    }
    URL.revokeObjectURL(this.#url);
  }

  readonly #opened = (): void => {
    URL.revokeObjectURL(this.#url);
    if (this.#closed || this.#buffer) return;
    try {
      this.#buffer = this.#source.addSourceBuffer(this.#mime);
      this.#buffer.addEventListener('updateend', this.#updated);
      this.#buffer.addEventListener('error', this.#failed);
    } catch (err) {
      this.#break(err instanceof Error ? err.message : String(err));
      return;
    }
    this.#next();
  };

  readonly #updated = (): void => {
    if (this.#closed) return;
    this.#events.grown();
    this.#next();
  };

  readonly #failed = (): void => this.#break(this.#video.error?.message ?? 'a segment could not be read');

  #next(): void {
    const buffer = this.#buffer;
    if (this.#closed || !buffer || buffer.updating || this.#source.readyState !== 'open') return;
    try {
      if (this.#trim(buffer, PAST) || this.#queue.length === 0) return;
      this.#append(buffer);
    } catch (err) {
      this.#break(err instanceof Error ? err.message : String(err));
    }
  }

  #append(buffer: SourceBuffer): void {
    // What has gathered goes in one piece: an append costs more than its bytes.
    const data = this.#queue.length === 1 ? (this.#queue[0] as ArrayBuffer) : joined(this.#queue, this.#queued);
    try {
      buffer.appendBuffer(data);
    } catch (err) {
      const full = err instanceof DOMException && err.name === 'QuotaExceededError';
      // The browser's memory for this is full: without the past it goes on.
      if (full && this.#trim(buffer, 0.5)) return;
      throw err;
    }
    this.#queue.length = 0;
    this.#queued = 0;
  }

  /**
   * Throws the past away up to a key frame, once more than so many seconds of it
   * are there. Up to any other place it would take everything with it until the
   * next key frame (Media Source Extensions, section 3.5.9), perhaps also what is
   * on the screen.
   */
  #trim(buffer: SourceBuffer, keep: number): boolean {
    if (buffer.buffered.length === 0) return false;
    const first = buffer.buffered.start(0);
    const last = this.#video.currentTime - MARGIN;
    const at = this.#keys.findLastIndex((key) => key <= last);
    const key = this.#keys[at];
    if (key === undefined || key - first <= keep) return false;
    this.#keys.splice(0, at);
    buffer.remove(0, key);
    return true;
  }

  #break(detail: string): void {
    if (this.#closed) return;
    this.#events.broken({ code: 'decode', detail });
  }
}

function joined(parts: readonly ArrayBuffer[], size: number): ArrayBuffer {
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(new Uint8Array(part), at);
    at += part.byteLength;
  }
  return all.buffer;
}
