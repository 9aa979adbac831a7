import { pan, toggle, zoomAt } from './zoom';
import type { View } from './zoom';

export interface GestureOptions {
  view(): View;
  change(view: View): void;
  /**
   * Whether a turn of the wheel zooms by itself. Where the stage is a part of a
   * page that scrolls, it does only with the Ctrl key, which is also how a
   * touchpad's pinch arrives.
   */
  wheel: 'always' | 'ctrl';
}

/** A turn of the wheel by so many pixels doubles the size. */
const DOUBLING = 400;
/** A finger or a button that moves no farther than this (pixels) has not dragged. */
const STILL = 4;

interface Touch {
  x: number;
  y: number;
}

/** Wheel, drag, pinch and double click on a stage. Returns what takes them off again. */
export function gestures(stage: HTMLElement, options: GestureOptions): () => void {
  const leave = new AbortController();
  const { signal } = leave;
  const touches = new Map<number, Touch>();
  let moved = 0;

  /** A point of the window as fractions of the stage. */
  const at = (x: number, y: number): [number, number] => {
    const box = stage.getBoundingClientRect();
    return [(x - box.left) / (box.width || 1), (y - box.top) / (box.height || 1)];
  };

  const wheel = (e: WheelEvent) => {
    if (options.wheel === 'ctrl' && !e.ctrlKey) return;
    e.preventDefault();
    // Lines and pages instead of pixels: Firefox with a mouse.
    const pixels = e.deltaY * (e.deltaMode === 1 ? 32 : e.deltaMode === 2 ? 400 : 1) * (e.ctrlKey ? 4 : 1);
    const view = options.view();
    options.change(zoomAt(view, view.zoom * 2 ** (-pixels / DOUBLING), ...at(e.clientX, e.clientY)));
  };

  const down = (e: PointerEvent) => {
    if (e.button !== 0 || touches.size >= 2 || onControl(e.target)) return;
    touches.set(e.pointerId, { x: e.clientX, y: e.clientY });
    moved = touches.size === 1 ? 0 : Infinity;
  };

  const move = (e: PointerEvent) => {
    const touch = touches.get(e.pointerId);
    if (!touch) return;
    const before = { ...touch };
    const other = [...touches.entries()].find(([id]) => id !== e.pointerId)?.[1];
    const dx = e.clientX - touch.x;
    const dy = e.clientY - touch.y;
    moved += Math.abs(dx) + Math.abs(dy);
    touch.x = e.clientX;
    touch.y = e.clientY;
    if (moved <= STILL) return;
    if (!stage.hasPointerCapture(e.pointerId)) stage.setPointerCapture(e.pointerId);
    const box = stage.getBoundingClientRect();
    const view = options.view();
    if (other) options.change(pinch(view, before, touch, other, at));
    else if (view.zoom > 1) options.change(pan(view, dx / (box.width || 1), dy / (box.height || 1)));
  };

  const up = (e: PointerEvent) => void touches.delete(e.pointerId);

  const double = (e: MouseEvent) => {
    if (onControl(e.target)) return;
    options.change(toggle(options.view(), ...at(e.clientX, e.clientY)));
  };

  stage.addEventListener('wheel', wheel, { signal, passive: false });
  stage.addEventListener('pointerdown', down, { signal });
  stage.addEventListener('pointermove', move, { signal });
  for (const end of ['pointerup', 'pointercancel', 'lostpointercapture'] as const) {
    stage.addEventListener(end, up, { signal });
  }
  stage.addEventListener('dblclick', double, { signal });
  return () => leave.abort();
}

/** One of two fingers has moved: the picture under them stays under them. */
function pinch(view: View, before: Touch, now: Touch, other: Touch, at: (x: number, y: number) => [number, number]): View {
  const distance = (t: Touch) => Math.max(1, Math.hypot(t.x - other.x, t.y - other.y));
  const from = at((before.x + other.x) / 2, (before.y + other.y) / 2);
  const to = at((now.x + other.x) / 2, (now.y + other.y) / 2);
  const zoomed = zoomAt(view, (view.zoom * distance(now)) / distance(before), ...from);
  return pan(zoomed, to[0] - from[0], to[1] - from[1]);
}

/** Buttons and links upon the stage have their own meaning. */
function onControl(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest('button, a, input, select, dialog, [data-control]') !== null;
}
