import { describe, expect, it } from 'vitest';
import { inOrder } from './order';
import { arrange, commonShape, follow, leastTile } from './arrange';
import type { Room } from './arrange';

const wide: Room = { width: 1250, height: 640, gap: 10, aspect: 16 / 9, least: 176 };
const phone: Room = { width: 336, height: 660, gap: 8, aspect: 16 / 9, least: 164 };

describe('arrange', () => {
  it.each([
    [1, 1],
    [2, 2],
    [3, 2],
    [4, 2],
    [5, 3],
    [9, 3],
    [12, 4],
    [16, 4],
    [30, 6],
  ])('puts %i cameras into %i columns of a wide window, all in view', (count, columns) => {
    const a = arrange(count, wide);
    expect(a).toMatchObject({ columns, fits: true });
    const rows = Math.ceil(count / columns);
    expect(columns * a.tile + (columns - 1) * wide.gap).toBeLessThanOrEqual(wide.width);
    expect((rows * a.tile) / wide.aspect + (rows - 1) * wide.gap).toBeLessThanOrEqual(wide.height + 0.01);
  });

  it('finds no better number of columns for any window', () => {
    for (let count = 1; count <= 30; count++) {
      for (const [width, height] of [[800, 600], [1280, 600], [3800, 2000], [700, 300], [600, 900]] as const) {
        const room = { ...wide, width, height, least: 0 };
        const a = arrange(count, room);
        if (!a.fits) continue;
        for (let columns = 1; columns <= count; columns++) {
          const rows = Math.ceil(count / columns);
          const other = Math.min((width - 10 * (columns - 1)) / columns, ((height - 10 * (rows - 1)) / rows) * room.aspect);
          expect(a.tile).toBeGreaterThanOrEqual(Math.floor(other));
        }
      }
    }
  });

  it('takes the whole width of a phone and scrolls', () => {
    expect(arrange(1, phone)).toEqual({ columns: 1, tile: 336, fits: true });
    expect(arrange(4, { ...phone, least: 240 })).toEqual({ columns: 1, tile: 336, fits: false });
    expect(arrange(30, phone)).toEqual({ columns: 2, tile: 164, fits: false });
  });

  it('bears a window that has no size yet', () => {
    expect(arrange(4, { ...wide, width: 0, height: 0 })).toEqual({ columns: 1, tile: 0, fits: false });
    expect(arrange(0, wide).columns).toBe(1);
  });
});

describe('inOrder', () => {
  it('counts as people do, and leaves the list alone', () => {
    const list = ['b', 'cam_10', 'cam_2', 'a'].map((id) => ({ id }));
    expect(inOrder(list).map((c) => c.id)).toEqual(['a', 'b', 'cam_2', 'cam_10']);
    expect(list[0]?.id).toBe('b');
  });
});

describe('commonShape', () => {
  it('is the shape that the most of the pictures fill', () => {
    expect(commonShape([])).toBe(16 / 9);
    expect(commonShape([16 / 9, 16 / 9, 4 / 3])).toBe(16 / 9);
    expect(commonShape([4 / 3, 4 / 3, 16 / 9])).toBe(4 / 3);
    expect(commonShape([9 / 16])).toBe(9 / 16);
    expect(commonShape([1280 / 720, 1281 / 720])).toBe(16 / 9);
  });
});

describe('leastTile', () => {
  it('lets many be smaller than few, and two beside one another on a phone', () => {
    expect(leastTile(4, 1250, 10, 16)).toBe(240);
    expect(leastTile(30, 1250, 10, 16)).toBe(176);
    expect(leastTile(30, 336, 8, 16)).toBe(164);
    expect(leastTile(2, 200, 8, 16)).toBe(200);
  });
});

describe('follow', () => {
  it.each([
    ['ArrowRight', 0, 1],
    ['ArrowRight', 6, null],
    ['ArrowLeft', 0, null],
    ['ArrowLeft', 3, 2],
    ['ArrowDown', 1, 4],
    ['ArrowDown', 4, 6],
    ['ArrowDown', 6, null],
    ['ArrowUp', 6, 3],
    ['ArrowUp', 1, null],
    ['Home', 5, 0],
    ['End', 0, 6],
    ['x', 0, null],
  ])('%s from %i of seven in three columns: %s', (key, from, to) => {
    expect(follow(key, from, 7, 3)).toBe(to);
  });
});
