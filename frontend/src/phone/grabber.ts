/** Makes JPEG pictures of a camera track. */
export interface Grabber {
  setTrack(track: MediaStreamTrack | null): void;
  /** The newest picture, or null while there is none. Width and height of the long and short side are bounded by longest. */
  grab(longest: number, quality: number): Promise<Picture | null>;
  close(): void;
}

export interface Picture {
  readonly data: Blob;
  readonly width: number;
  readonly height: number;
}

/** The size of a picture whose long side is at most so many pixels; never larger than it is. */
export function fit(width: number, height: number, longest: number): { width: number; height: number } {
  const scale = Math.min(1, longest / Math.max(width, height, 1));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/**
 * Draws a video that nobody sees. The size is looked at for every picture: a
 * phone that is turned gives upright pictures from one to the next.
 */
export class VideoGrabber implements Grabber {
  readonly #video: HTMLVideoElement;
  readonly #canvas: HTMLCanvasElement;
  #track: MediaStreamTrack | null = null;

  constructor() {
    this.#video = document.createElement('video');
    this.#video.muted = true;
    this.#video.playsInline = true;
    this.#video.autoplay = true;
    this.#canvas = document.createElement('canvas');
  }

  setTrack(track: MediaStreamTrack | null): void {
    if (this.#track === track) return;
    this.#track = track;
    this.#video.srcObject = track && new MediaStream([track]);
    // Muted video may always start; a refusal shows as no picture.
    if (track) this.#video.play().catch(() => undefined);
  }

  async grab(longest: number, quality: number): Promise<Picture | null> {
    const { videoWidth, videoHeight } = this.#video;
    if (!videoWidth || !videoHeight || this.#video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return null;
    const { width, height } = fit(videoWidth, videoHeight, longest);
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    const context = this.#canvas.getContext('2d', { alpha: false });
    if (!context) throw new Error('the browser gives no canvas');
    context.drawImage(this.#video, 0, 0, width, height);
    const data = await new Promise<Blob | null>((resolve) => this.#canvas.toBlob(resolve, 'image/jpeg', quality));
    return data && { data, width, height };
  }

  close(): void {
    this.setTrack(null);
    this.#video.removeAttribute('src');
    this.#canvas.width = this.#canvas.height = 0;
  }
}

