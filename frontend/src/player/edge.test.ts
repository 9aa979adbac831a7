import { describe, expect, it } from 'vitest';
import { LiveEdge } from './edge';

const at = (current: number, ...ranges: [number, number][]) => ({ current, ranges });

describe('LiveEdge', () => {
  it('begins at the newest picture', () => {
    const edge = new LiveEdge();
    expect(edge.move(at(0), 0, true)).toEqual({ rate: 1 });
    expect(edge.move(at(0, [0, 2]), 0, true)).toEqual({ seek: 2 - edge.aim, rate: 1 });
  });

  it('catches up by pace when it is a little late, quicker when nobody hears it', () => {
    const edge = new LiveEdge();
    const late = at(10, [0, 10.4]);
    const silent = edge.move(late, 0, true);
    const heard = edge.move(late, 0, false);
    expect(silent.seek).toBeUndefined();
    expect(silent.rate).toBeGreaterThan(heard.rate);
    expect(heard.rate).toBeGreaterThan(1);
    expect(heard.rate).toBeLessThanOrEqual(1.25);
    expect(edge.move(at(10, [0, 10.08]), 0, true).rate).toBe(1);
    expect(edge.move(at(10, [0, 10.01]), 0, true).rate).toBeLessThan(1);
  });

  it('jumps when it is far behind, and over a hole', () => {
    const edge = new LiveEdge();
    expect(edge.move(at(3, [0, 10]), 0, true).seek).toBeCloseTo(10 - edge.aim);
    expect(edge.move(at(3, [0, 3], [4, 4.02]), 0, true).seek).toBe(4);
  });

  it('stays where it is when it has overtaken everything', () => {
    expect(new LiveEdge().move(at(11, [0, 10]), 0, true)).toEqual({ rate: 1 });
  });

  it('keeps more distance after each standstill, and comes closer in calm times', () => {
    const edge = new LiveEdge();
    const first = edge.aim;
    edge.stood(1000);
    edge.stood(1100); // the same one
    const second = edge.aim;
    expect(second).toBeGreaterThan(first);
    // A row of them without an end is no single one.
    for (let t = 1200; t < 2500; t += 100) edge.stood(t);
    expect(edge.aim).toBeGreaterThan(second);
    for (let t = 3000; t < 60_000; t += 2000) edge.stood(t);
    expect(edge.aim).toBeLessThanOrEqual(0.4);
    for (let t = 60_000; t < 600_000; t += 100) edge.move(at(1, [0, 1.1]), t, true);
    expect(edge.aim).toBeCloseTo(first);
  });

  it('settles within half a second behind, whatever it started from', () => {
    for (const begin of [0, 3, 4.6, 4.99]) {
      const edge = new LiveEdge();
      let current = begin;
      let rate = 1;
      for (let t = 0; t < 20_000; t += 100) {
        const end = 5 + t / 1000;
        current = Math.min(end, current + 0.1 * rate);
        const move = edge.move(at(current, [0, end]), t, true);
        rate = move.rate;
        current = move.seek ?? current;
      }
      expect(24.9 - current).toBeLessThan(0.2);
      expect(24.9 - current).toBeGreaterThanOrEqual(0);
    }
  });
});
