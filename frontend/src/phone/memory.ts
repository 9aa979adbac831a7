import { DEFAULTS, LONGEST_INTERVAL, MODES, QUALITIES, RESOLUTIONS, SHORTEST_INTERVAL } from './types';
import type { PublisherSettings } from './types';

const KEY = 'camwire.phone';

/** What the device remembers from one visit to the next. */
export interface Memory {
  /** The camera's id, null when there never was one. It may not be valid any more. */
  readonly id: string | null;
  readonly settings: PublisherSettings;
}

/** What was remembered; anything that makes no sense is as if it were new. */
export function recall(): Memory {
  try {
    return parseMemory(JSON.parse(localStorage.getItem(KEY) ?? 'null'));
  } catch {
    return parseMemory(null);
  }
}

export function remember(memory: Memory): void {
  try {
    localStorage.setItem(KEY, JSON.stringify({ id: memory.id, ...memory.settings }));
  } catch {
    // Storage may be forbidden or full; it then lasts as long as the page.
  }
}

export function parseMemory(value: unknown): Memory {
  const v = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const one = <T>(list: readonly T[], key: string, otherwise: T): T => list.find((x) => x === v[key]) ?? otherwise;
  const interval = v['interval'];
  return {
    id: typeof v['id'] === 'string' ? v['id'] : null,
    settings: {
      mode: one(MODES, 'mode', DEFAULTS.mode),
      facing: one(['environment', 'user'] as const, 'facing', DEFAULTS.facing),
      resolution: one(RESOLUTIONS, 'resolution', DEFAULTS.resolution),
      quality: one(QUALITIES, 'quality', DEFAULTS.quality),
      mic: v['mic'] === true,
      interval:
        typeof interval === 'number' && interval >= SHORTEST_INTERVAL && interval <= LONGEST_INTERVAL
          ? Math.round(interval)
          : DEFAULTS.interval,
      simulcast: v['simulcast'] === true,
    },
  };
}
