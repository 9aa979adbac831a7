/** Makes a camera of the device that the page runs on. Framework-free; nothing here knows a page. */
export { Publisher } from './publisher';
export type { PublisherOptions } from './publisher';
export { covers, validId } from './device';
export { DEFAULTS, LONGEST_INTERVAL, MODES, QUALITIES, RESOLUTIONS, SHORTEST_INTERVAL } from './types';
export type {
  Facing,
  Mode,
  PublishCode,
  PublishReason,
  PublisherSettings,
  PublisherState,
  PublisherStats,
  PublisherStatus,
  Quality,
  Resolution,
} from './types';
