import type { Reason, SourceState } from './types';

/**
 * What the server says over the signaling WebSocket and that of MSE. Times are
 * unix ms, media times are seconds.
 */
export type ServerMessage =
  | { type: 'answer'; sdp: string }
  | { type: 'candidate'; candidate: RTCIceCandidateInit | null }
  | { type: 'pong'; t: number; server: number }
  | { type: 'clock'; rtp: number; captured: number; rate: number }
  | { type: 'mime'; mime: string }
  | { type: 'time'; media: number; captured: number }
  | { type: 'state'; state: SourceState; reason?: string }
  | { type: 'error'; error: string; code: string };

export type ClientMessage =
  | { type: 'offer'; sdp: string }
  | { type: 'candidate'; candidate: RTCIceCandidateInit | null }
  | { type: 'ping'; t: number }
  | { type: 'audio'; on: boolean }
  | { type: 'bye' };

const SOURCE_STATES: readonly string[] = [
  'idle',
  'connecting',
  'live',
  'lost',
  'failed',
  'disabled',
] satisfies SourceState[];

/** Knows a state by its name; a newer server may have more of them. */
export function sourceState(value: unknown): SourceState | undefined {
  return typeof value === 'string' && SOURCE_STATES.includes(value) ? (value as SourceState) : undefined;
}

/** Reads one message; null for anything it does not know, which is no error. */
export function parseServerMessage(data: unknown): ServerMessage | null {
  const m = object(data);
  if (!m) return null;
  switch (m['type']) {
    case 'answer':
      return typeof m['sdp'] === 'string' ? { type: 'answer', sdp: m['sdp'] } : null;
    case 'candidate':
      return candidate(m['candidate']);
    case 'pong':
      return number(m['t']) && number(m['server']) ? { type: 'pong', t: m['t'], server: m['server'] } : null;
    case 'clock':
      return clock(m);
    case 'mime':
      return typeof m['mime'] === 'string' ? { type: 'mime', mime: m['mime'] } : null;
    case 'time':
      return number(m['media']) && number(m['captured'])
        ? { type: 'time', media: m['media'], captured: m['captured'] }
        : null;
    case 'state': {
      const state = sourceState(m['state']);
      if (!state) return null;
      const reason = m['reason'];
      return typeof reason === 'string' && reason ? { type: 'state', state, reason } : { type: 'state', state };
    }
    case 'error':
      return { type: 'error', error: String(m['error'] ?? ''), code: String(m['code'] ?? '') };
    default:
      return null;
  }
}

/** What an error message means for the ladder. */
export function errorReason(message: { error: string; code: string }): Reason {
  switch (message.code) {
    case 'unknown_camera':
      return { code: 'unknown-camera', detail: message.error };
    case 'unauthorized':
      return { code: 'unauthorized', detail: message.error };
    default:
      return { code: 'refused', detail: message.error || message.code };
  }
}

function object(data: unknown): Record<string, unknown> | null {
  if (typeof data !== 'string') return null;
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function candidate(value: unknown): ServerMessage | null {
  if (value === null) return { type: 'candidate', candidate: null };
  if (typeof value !== 'object') return null;
  const c = value as RTCIceCandidateInit;
  return typeof c.candidate === 'string' ? { type: 'candidate', candidate: c } : null;
}

function clock(m: Record<string, unknown>): ServerMessage | null {
  const rate = m['clock_rate'] ?? 90_000;
  if (!number(m['rtp']) || !number(m['captured']) || !number(rate) || rate <= 0) return null;
  return { type: 'clock', rtp: m['rtp'], captured: m['captured'], rate };
}

function number(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
