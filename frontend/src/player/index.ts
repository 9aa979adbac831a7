/** The player: one camera in one element. Free of any framework. */
export { Player } from './player';
export type { PlayerOptions } from './player';
export { gestures } from './gestures';
export { RUNGS } from './types';
export type {
  PlayerState,
  PlayerStats,
  PlayerStatus,
  Reason,
  ReasonCode,
  RungName,
  SourceState,
} from './types';
export { WHOLE, ZOOM_STEP, byKey, pan, transformOf, within, zoomAt } from './zoom';
export type { View } from './zoom';
