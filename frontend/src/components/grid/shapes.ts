/** Remembers the shapes of cameras from visit to visit: the grid stands before the first picture has come. */

const KEY = 'camwire.shapes';
/** More cameras than this nobody has in one grid. */
const MOST = 256;

/** Width over height by camera id. */
export function recallShapes(): Map<string, number> {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    if (!Array.isArray(kept)) return new Map();
    const pairs = kept.filter((p): p is [string, number] => Array.isArray(p) && typeof p[0] === 'string' && p[1] > 0.1 && p[1] < 10);
    return new Map(pairs.slice(0, MOST));
  } catch {
    return new Map();
  }
}

export function keepShapes(shapes: ReadonlyMap<string, number>): void {
  try {
    localStorage.setItem(KEY, JSON.stringify([...shapes].slice(0, MOST)));
  } catch {
    // Without storage the first picture may move the grid once.
  }
}
