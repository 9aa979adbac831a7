import { describe, expect, it } from 'vitest';
import { errorReason, parseServerMessage } from './signal';

const parse = (value: unknown) => parseServerMessage(JSON.stringify(value));

describe('parseServerMessage', () => {
  it('reads every message of the protocol', () => {
    expect(parse({ type: 'answer', sdp: 'v=0' })).toEqual({ type: 'answer', sdp: 'v=0' });
    const candidate = { candidate: 'candidate:1', sdpMid: '0', sdpMLineIndex: 0 };
    expect(parse({ type: 'candidate', candidate })).toEqual({ type: 'candidate', candidate });
    expect(parse({ type: 'candidate', candidate: null })).toEqual({ type: 'candidate', candidate: null });
    expect(parse({ type: 'pong', t: 1.5, server: 1e12 })).toEqual({ type: 'pong', t: 1.5, server: 1e12 });
    expect(parse({ type: 'clock', rtp: 1, captured: 2, clock_rate: 48000 })).toEqual({
      type: 'clock',
      rtp: 1,
      captured: 2,
      rate: 48000,
    });
    expect(parse({ type: 'clock', rtp: 1, captured: 2 })).toMatchObject({ rate: 90_000 });
    expect(parse({ type: 'state', state: 'lost', reason: 'unplugged' })).toEqual({
      type: 'state',
      state: 'lost',
      reason: 'unplugged',
    });
    expect(parse({ type: 'state', state: 'live', reason: '' })).toEqual({ type: 'state', state: 'live' });
    expect(parse({ type: 'error', error: 'no', code: 'x' })).toEqual({ type: 'error', error: 'no', code: 'x' });
  });

  it.each([
    null,
    42,
    [],
    {},
    { type: 'answer' },
    { type: 'answer', sdp: 1 },
    { type: 'candidate', candidate: 'x' },
    { type: 'candidate', candidate: {} },
    { type: 'pong', t: '1', server: 2 },
    { type: 'clock', rtp: 1, captured: 2, clock_rate: 0 },
    { type: 'state', state: 'dancing' },
    { type: 'from the future' },
  ])('ignores %j', (value) => {
    expect(parse(value)).toBeNull();
  });

  it('ignores what is no JSON text', () => {
    expect(parseServerMessage('{')).toBeNull();
    expect(parseServerMessage(new ArrayBuffer(3))).toBeNull();
  });
});

describe('errorReason', () => {
  it('knows what no other rung can mend', () => {
    expect(errorReason({ error: 'e', code: 'unknown_camera' }).code).toBe('unknown-camera');
    expect(errorReason({ error: 'e', code: 'unauthorized' }).code).toBe('unauthorized');
    expect(errorReason({ error: '', code: 'bad_offer' })).toEqual({ code: 'refused', detail: 'bad_offer' });
  });
});
