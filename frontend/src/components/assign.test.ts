import { describe, expect, it } from 'vitest';
import { assignRungs } from './assign';

const text = (rungs: Map<string, string>) => [...rungs].map(([id, rung]) => `${id}:${rung[0]}`).join(' ');
const order = ['a', 'b', 'c', 'd', 'e'];

describe('assignRungs', () => {
  it('gives video to the first ones in view, stills to the rest, and nothing to those out of view', () => {
    expect(text(assignRungs(order, new Set(['b', 'c', 'd', 'e']), new Map(), 2))).toBe('b:w c:w d:s e:s');
  });

  it('lets who has video keep it while in view', () => {
    const before = assignRungs(order, new Set(['b', 'c', 'd']), new Map(), 2);
    const after = assignRungs(order, new Set(['a', 'b', 'c']), before, 2);
    expect(text(after)).toBe('a:s b:w c:w');
    expect(text(assignRungs(order, new Set(['a', 'b']), after, 2))).toBe('a:w b:w');
  });

  it('lets dark cameras wait on their connection, beside the limit', () => {
    const dark = new Set(['a', 'c']);
    const waiting = assignRungs(order, new Set(order), new Map(), 2, dark);
    expect(text(waiting)).toBe('a:w b:w c:w d:w e:s');
    expect(text(assignRungs(order, new Set(order), waiting, 2))).toBe('a:w b:w c:s d:s e:s');
  });
});
