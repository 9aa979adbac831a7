/** Draws decoded pictures onto a canvas of their own size. */
export class CanvasSurface {
  readonly element: HTMLCanvasElement;
  readonly #pen: CanvasRenderingContext2D | null;

  constructor() {
    this.element = document.createElement('canvas');
    this.element.width = this.element.height = 0;
    this.#pen = this.element.getContext('2d', { alpha: false });
  }

  /** Shows the picture and releases it. */
  draw(picture: ImageBitmap): void {
    const { element } = this;
    if (element.width !== picture.width) element.width = picture.width;
    if (element.height !== picture.height) element.height = picture.height;
    this.#pen?.drawImage(picture, 0, 0);
    picture.close();
  }
}

/** A canvas with what the surface shows now, or null when it shows nothing. */
export function copyOf(surface: HTMLVideoElement | HTMLCanvasElement): HTMLCanvasElement | null {
  const video = surface instanceof HTMLVideoElement;
  const width = video ? surface.videoWidth : surface.width;
  const height = video ? surface.videoHeight : surface.height;
  if (width === 0 || height === 0) return null;
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d', { alpha: false })?.drawImage(surface, 0, 0);
  return canvas;
}
