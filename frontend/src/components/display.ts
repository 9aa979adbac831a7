import type { Camera } from '../api/types';
import type { PlayerState, PlayerStatus, Reason, ReasonCode } from '../player';

/** What a camera is shown to be: the player's word, or the list's where no player runs. */
export type DisplayState = PlayerState | 'idle' | 'disabled';

export interface Display {
  readonly state: DisplayState;
  readonly reason?: Reason;
}

/**
 * A reason in sentences: ours, then the server's own words. Where those say it
 * all, ours are left out.
 */
export function explain(reason: Reason | undefined, sentence: (code: ReasonCode) => string): string[] {
  if (!reason) return [];
  const { code, detail } = reason;
  if (detail && (code === 'camera' || code === 'refused')) return [detail];
  return detail ? [sentence(code), detail] : [sentence(code)];
}

/** Joins what the list says of a camera with what its player sees, if one runs. */
export function display(camera: Camera | undefined, status: PlayerStatus | null): Display {
  if (camera?.state === 'disabled') return { state: 'disabled' };
  if (status) return status.reason ? { state: status.state, reason: status.reason } : { state: status.state };
  if (!camera) return { state: 'connecting' };
  const state = camera.state;
  if (state === 'live' || state === 'idle') return { state };
  return { state, reason: camera.error ? { code: 'camera', detail: camera.error } : { code: 'camera' } };
}
