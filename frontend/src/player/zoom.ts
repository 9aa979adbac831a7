/** What part of the stage is seen: how large, and which point of it is in the middle (fractions of the stage). */
export interface View {
  readonly zoom: number;
  readonly x: number;
  readonly y: number;
}

export const WHOLE: View = { zoom: 1, x: 0.5, y: 0.5 };
export const LARGEST = 8;
/** One press of a key, one click of a button. */
export const ZOOM_STEP = 1.25;
/** Moves by a key are so much of what is seen. */
export const PAN_STEP = 0.1;
/** What a double click zooms to. */
const CLOSE = 2.5;

/** Brings a view, also a stored one with anything in it, to where there is something to see. */
export function within(view: Partial<Record<keyof View, unknown>>): View {
  const number = (value: unknown, otherwise: number) =>
    typeof value === 'number' && Number.isFinite(value) ? value : otherwise;
  const zoom = Math.min(LARGEST, Math.max(1, number(view.zoom, 1)));
  const half = 0.5 / zoom;
  const inside = (v: number) => Math.min(1 - half, Math.max(half, v));
  return { zoom, x: inside(number(view.x, 0.5)), y: inside(number(view.y, 0.5)) };
}

/** Zooms so that the point of the stage at px, py (fractions) stays where it is. */
export function zoomAt(view: View, zoom: number, px = 0.5, py = 0.5): View {
  const next = Math.min(LARGEST, Math.max(1, zoom));
  return within({
    zoom: next,
    x: view.x + (px - 0.5) / view.zoom - (px - 0.5) / next,
    y: view.y + (py - 0.5) / view.zoom - (py - 0.5) / next,
  });
}

/** Moves the picture by fractions of the stage. */
export function pan(view: View, dx: number, dy: number): View {
  return within({ zoom: view.zoom, x: view.x - dx / view.zoom, y: view.y - dy / view.zoom });
}

/** Close to the point, or back to the whole picture. */
export function toggle(view: View, px: number, py: number): View {
  return view.zoom > 1.01 ? WHOLE : zoomAt(view, CLOSE, px, py);
}

/** What a key does to the view; null when it is none of ours, or would change nothing. */
export function byKey(view: View, key: string): View | null {
  const next = keyed(view, key);
  return next && (next.zoom !== view.zoom || next.x !== view.x || next.y !== view.y) ? next : null;
}

function keyed(view: View, key: string): View | null {
  switch (key) {
    case '+':
    case '=':
      return zoomAt(view, view.zoom * ZOOM_STEP);
    case '-':
      return zoomAt(view, view.zoom / ZOOM_STEP);
    case '0':
      return WHOLE;
    case 'ArrowLeft':
      return pan(view, PAN_STEP, 0);
    case 'ArrowRight':
      return pan(view, -PAN_STEP, 0);
    case 'ArrowUp':
      return pan(view, 0, PAN_STEP);
    case 'ArrowDown':
      return pan(view, 0, -PAN_STEP);
    default:
      return null;
  }
}

/** The CSS transform of a box that fills the stage, with its origin at 0 0. */
export function transformOf(view: View): string {
  if (view.zoom === 1) return 'none';
  const percent = (v: number) => ((0.5 - v * view.zoom) * 100).toFixed(3) + '%';
  return `translate(${percent(view.x)}, ${percent(view.y)}) scale(${view.zoom.toFixed(4)})`;
}
