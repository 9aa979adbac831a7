import type { RungName } from '../player';

/** Who is in view, and how much of each: 0 for an edge, 1 for all of it. */
export type InView = ReadonlyMap<string, number>;

/** Of a tile that shows at least this much somebody sees what happens in it. */
const SEEN = 0.5;

/**
 * Who in the grid gets video: those in view, up to the limit, the ones well in
 * view before those at the edge, and then the first ones first. Who has it
 * keeps it as long as it stays in view, so that scrolling does not reconnect
 * what has not moved. Dark cameras are not counted: they wait on an open
 * connection, where their return is told at once, which costs less than asking
 * for stills that there are none of.
 */
export function assignRungs(
  order: readonly string[],
  inView: InView,
  before: ReadonlyMap<string, RungName>,
  limit: number,
  dark: ReadonlySet<string> = new Set(),
): Map<string, RungName> {
  const seen = order.filter((id) => inView.has(id));
  const bright = seen.filter((id) => !dark.has(id));
  const well = (id: string) => (inView.get(id) ?? 0) >= SEEN;
  const has = (id: string) => before.get(id) === 'webrtc';
  const ranks = [
    bright.filter((id) => has(id) && well(id)),
    bright.filter((id) => !has(id) && well(id)),
    bright.filter((id) => has(id) && !well(id)),
    bright.filter((id) => !has(id) && !well(id)),
  ];
  const stills = new Set(ranks.flat().slice(limit));
  return new Map(seen.map((id) => [id, stills.has(id) ? 'stills' : 'webrtc']));
}

/** What is known of the device that shows the grid. */
export interface Device {
  /** Processor cores, undefined while unknown. */
  readonly cores?: number | undefined;
  /** Whether somebody asked for little data (Save-Data). */
  readonly saveData?: boolean | undefined;
}

/** So many tiles play video at once; a phone decodes no more with ease. */
const VIDEO_LIMIT = 6;

/** How many tiles a device can play as video. The rest looks live by a picture a second. */
export function videoBudget(device: Device): number {
  if (device.saveData) return 0;
  if (device.cores !== undefined && device.cores <= 2) return 3;
  return device.cores !== undefined && device.cores <= 4 ? 4 : VIDEO_LIMIT;
}

/** Widths that stills are asked for: few, for the server makes each once for all who ask. */
const WIDTHS = [240, 480, 960];

/** The width of a still for a tile, in pixels of the picture. */
export function stillsWidth(tile: number, density: number): number {
  const wanted = tile * Math.min(density, 2);
  // A little too small is not seen; twice too large costs four times the bytes.
  return WIDTHS.find((w) => w >= wanted * 0.8) ?? 960;
}
