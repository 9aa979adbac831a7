/** The place that a grid of pictures has, in CSS pixels. */
export interface Room {
  readonly width: number;
  /** What is visible without scrolling. */
  readonly height: number;
  readonly gap: number;
  /** Width over height of the tiles. */
  readonly aspect: number;
  /** Narrower than this a tile shows too little to be of use. */
  readonly least: number;
}

export interface Arrangement {
  readonly columns: number;
  /** Of one tile, whole CSS pixels: fractions would break the last tile of a row onto the next. */
  readonly tile: number;
  /** Whether all tiles are visible at once. */
  readonly fits: boolean;
}

/**
 * The best rows and columns for so many tiles: the ones that make the tiles
 * largest with all of them in view. Where they would be too small for that,
 * or a lonely column would leave the sides of a phone empty, the page scrolls
 * and the tiles take the whole width.
 */
export function arrange(count: number, room: Room): Arrangement {
  const best = largest(Math.max(1, count), room);
  const narrow = best.columns === 1 && count > 1 && best.tile < room.width;
  if (best.tile >= room.least && !narrow) return { ...best, fits: true };
  const columns = clamp(Math.floor((room.width + room.gap) / (room.least + room.gap)), 1, Math.max(1, count));
  return { columns, tile: across(columns, room), fits: false };
}

function largest(count: number, room: Room): { columns: number; tile: number } {
  let best = { columns: 1, tile: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const high = (room.height - room.gap * (rows - 1)) / rows;
    const tile = Math.max(0, Math.floor(Math.min(across(columns, room), high * room.aspect)));
    // Of equally large ones the first has the fullest last row.
    if (tile > best.tile) best = { columns, tile };
  }
  return best;
}

function across(columns: number, room: Room): number {
  return Math.max(0, Math.floor((room.width - room.gap * (columns - 1)) / columns));
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

/** Shapes of cameras, as width over height. */
const SHAPES = [16 / 9, 3 / 2, 4 / 3, 1, 3 / 4, 9 / 16];

/** The shape of tile that the pictures fill best, taken all together. */
export function commonShape(pictures: readonly number[]): number {
  let best = 16 / 9;
  let most = 0;
  for (const shape of SHAPES) {
    const filled = pictures.reduce((sum, p) => sum + Math.min(p / shape, shape / p), 0);
    // Rounding must not let a later shape win a tie.
    if (filled > most + 1e-9) [best, most] = [shape, filled];
  }
  return best;
}

/**
 * The narrowest tile that is of use, in CSS pixels. Many cameras may be
 * smaller than few, and a phone shows many of them in two columns.
 */
export function leastTile(count: number, width: number, gap: number, rem: number): number {
  if (count <= 6) return Math.min(width, 15 * rem);
  return Math.min(11 * rem, Math.floor((width - gap) / 2));
}


/** The tile that a key leads to from another, or null when the key leads nowhere. */
export function follow(key: string, from: number, count: number, columns: number): number | null {
  const to = target(key, from, count, columns);
  return to === null || to < 0 || to >= count || to === from ? null : to;
}

function target(key: string, from: number, count: number, columns: number): number | null {
  switch (key) {
    case 'ArrowLeft':
      return from - 1;
    case 'ArrowRight':
      return from + 1;
    case 'ArrowUp':
      return from - columns;
    case 'ArrowDown':
      // From the row before the last into a shorter last one.
      return Math.floor(from / columns) < Math.floor((count - 1) / columns) ? Math.min(from + columns, count - 1) : null;
    case 'Home':
      return 0;
    case 'End':
      return count - 1;
    default:
      return null;
  }
}
