import { describe, expect, it } from 'vitest';
import { assignRungs, stillsWidth, videoBudget } from './assign';

const text = (rungs: Map<string, string>) => [...rungs].map(([id, rung]) => `${id}:${rung[0]}`).join(' ');
const order = ['a', 'b', 'c', 'd', 'e'];
const view = (...ids: string[]) => new Map(ids.map((id) => [id, 1]));

describe('assignRungs', () => {
  it('gives video to the first ones in view, stills to the rest, and nothing to those out of view', () => {
    expect(text(assignRungs(order, view('b', 'c', 'd', 'e'), new Map(), 2))).toBe('b:w c:w d:s e:s');
  });

  it('lets who has video keep it while in view', () => {
    const before = assignRungs(order, view('b', 'c', 'd'), new Map(), 2);
    const after = assignRungs(order, view('a', 'b', 'c'), before, 2);
    expect(text(after)).toBe('a:s b:w c:w');
    expect(text(assignRungs(order, view('a', 'b'), after, 2))).toBe('a:w b:w');
  });

  it('prefers what is well in view to what shows an edge', () => {
    const scrolled = new Map([['a', 0.1], ['b', 0.9], ['c', 1], ['d', 0]]);
    expect(text(assignRungs(order, scrolled, new Map(), 2))).toBe('a:s b:w c:w d:s');
    const before = assignRungs(order, view('a', 'b'), new Map(), 2);
    expect(text(assignRungs(order, scrolled, before, 2))).toBe('a:s b:w c:w d:s');
    expect(text(assignRungs(order, scrolled, before, 3))).toBe('a:w b:w c:w d:s');
  });

  it('lets dark cameras wait on their connection, beside the limit', () => {
    const dark = new Set(['a', 'c']);
    const waiting = assignRungs(order, view(...order), new Map(), 2, dark);
    expect(text(waiting)).toBe('a:w b:w c:w d:w e:s');
    expect(text(assignRungs(order, view(...order), waiting, 2))).toBe('a:w b:w c:s d:s e:s');
  });

  it('plays nothing where no video is wanted', () => {
    expect(text(assignRungs(order, view('a', 'b'), new Map(), 0))).toBe('a:s b:s');
  });
});

describe('videoBudget', () => {
  it('asks little of a small device, and nothing where data is dear', () => {
    expect([{}, { cores: 16 }, { cores: 4 }, { cores: 2 }, { cores: 16, saveData: true }].map(videoBudget)).toEqual([6, 6, 4, 3, 0]);
  });
});

describe('stillsWidth', () => {
  it('has few steps, and none twice as large as the tile', () => {
    expect([[160, 1], [240, 1], [290, 1], [400, 1], [400, 2], [600, 1], [1900, 3]].map(([w, d]) => stillsWidth(w ?? 0, d ?? 1))).toEqual([
      240, 240, 240, 480, 960, 480, 960,
    ]);
  });
});
