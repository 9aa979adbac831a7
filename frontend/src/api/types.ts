import type { SourceState } from '../player';

/** One entry of the camera list, as far as the pages need it. */
export interface Camera {
  readonly id: string;
  /** Never empty: the id stands in. */
  readonly name: string;
  readonly sourceType: string;
  readonly state: SourceState;
  /** Why the state is what it is, in the server's words; '' for nothing to say. */
  readonly error: string;
  readonly codec: string;
  /** Pixels, 0 while unknown. */
  readonly width: number;
  readonly height: number;
  /** Pictures per second, 0 while unknown. */
  readonly fps: number;
  /** How old the newest picture was when the server answered, in seconds; null while there is none. */
  readonly lastFrameAge: number | null;
}

const STATES: Record<SourceState, true> = {
  idle: true,
  connecting: true,
  live: true,
  lost: true,
  failed: true,
  disabled: true,
};

/**
 * Reads the answer of the camera list. A server of another version may say more
 * or less, so anything but the id may be missing; an entry without one is left out.
 */
export function parseCameras(value: unknown): Camera[] {
  if (!Array.isArray(value)) return [];
  return value.map(parseCamera).filter((c) => c !== null);
}

function parseCamera(value: unknown): Camera | null {
  if (typeof value !== 'object' || value === null) return null;
  const v = value as Record<string, unknown>;
  const id = text(v['device_id']);
  if (id === '') return null;
  return {
    id,
    name: text(v['name']) || id,
    sourceType: text(v['source_type']),
    state: state(v['state'], v['active']),
    error: text(v['error']),
    codec: text(v['codec']),
    width: number(v['width']),
    height: number(v['height']),
    fps: number(v['fps']),
    lastFrameAge: v['last_frame_age'] === 0 ? 0 : number(v['last_frame_age']) || null,
  };
}

function state(value: unknown, active: unknown): SourceState {
  if (typeof value === 'string' && Object.hasOwn(STATES, value)) return value as SourceState;
  return active === true ? 'live' : 'connecting';
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : 0;
}
