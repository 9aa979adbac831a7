import type { RungName } from '../player';

/**
 * Who in the grid gets video: those in view, up to the limit, the first ones
 * first. Who has it keeps it as long as it stays in view, so that scrolling
 * does not reconnect what has not moved. Dark cameras are not counted: they
 * wait on an open connection, where their return is told at once, which costs
 * less than asking for stills that there are none of.
 */
export function assignRungs(
  order: readonly string[],
  inView: ReadonlySet<string>,
  before: ReadonlyMap<string, RungName>,
  limit: number,
  dark: ReadonlySet<string> = new Set(),
): Map<string, RungName> {
  const seen = order.filter((id) => inView.has(id));
  const bright = seen.filter((id) => !dark.has(id));
  const keep = bright.filter((id) => before.get(id) === 'webrtc');
  const others = bright.filter((id) => before.get(id) !== 'webrtc');
  const stills = new Set([...keep, ...others].slice(limit));
  return new Map(seen.map((id) => [id, stills.has(id) ? 'stills' : 'webrtc']));
}
