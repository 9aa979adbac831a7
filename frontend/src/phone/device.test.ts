import { describe, expect, it } from 'vitest';
import { chooseId, covers, makeId, validId } from './device';
import { parseMemory } from './memory';
import { DEFAULTS } from './types';

describe('validId', () => {
  it.each([
    ['a', true],
    ['mobile_x7-Q', true],
    ['x'.repeat(64), true],
    ['x'.repeat(65), false],
    ['', false],
    ['a b', false],
    ['ä', false],
    ['../x', false],
    ['a\n', false],
  ])('%j: %s', (id, valid) => expect(validId(id)).toBe(valid));
});

describe('makeId', () => {
  it('makes up names of the right form, each another one', () => {
    const ids = new Set(Array.from({ length: 50 }, () => makeId()));
    expect(ids.size).toBe(50);
    for (const id of ids) expect(id).toMatch(/^mobile_[a-z2-9]{6}$/);
  });

  it('leaves out bytes that would favour some letters', () => {
    let round = 0;
    expect(makeId((b) => b.fill(round++ === 0 ? 255 : 0))).toBe('mobile_aaaaaa');
  });
});

describe('covers', () => {
  it.each([
    [[], 'x', true],
    [['door'], 'door', true],
    [['door'], 'door2', false],
    [['mobile_*'], 'mobile_x', true],
    [['mobile_*', 'door'], 'kitchen', false],
    [['*'], 'kitchen', true],
  ])('%j, %s: %s', (cameras, id, yes) => expect(covers(cameras, id)).toBe(yes));
});

describe('chooseId', () => {
  const make = () => 'mobile_aaaaaa';

  it.each([
    ['kitchen', [], 'kitchen'],
    [null, [], 'mobile_aaaaaa'],
    ['not valid', [], 'mobile_aaaaaa'],
    ['kitchen', ['mobile_*'], 'mobile_aaaaaa'],
    ['mobile_old', ['mobile_*'], 'mobile_old'],
    [null, ['door', 'gate'], 'door'],
    [null, ['lab-*'], 'lab-aaaaaa'],
  ])('%j, %j: %s', (remembered, cameras, id) => expect(chooseId(remembered, cameras, make)).toBe(id));
});

describe('parseMemory', () => {
  it('takes what makes sense', () => {
    expect(parseMemory({ id: 'a', mode: 'stream', facing: 'user', resolution: 640, quality: 'low', mic: true, interval: 9.6, simulcast: true })).toEqual({
      id: 'a',
      settings: { mode: 'stream', facing: 'user', resolution: 640, quality: 'low', mic: true, interval: 10, simulcast: true },
    });
  });

  it.each([null, 5, 'x', [], { mode: 'fast', facing: 1, resolution: 641, quality: null, mic: 'yes', interval: 31, simulcast: 1 }])(
    'does without %j',
    (value) => expect(parseMemory(value)).toEqual({ id: null, settings: DEFAULTS }),
  );
});
