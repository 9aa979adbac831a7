import { describe, expect, it } from 'vitest';
import { StallGuard } from './stall';

/** Pictures every gap ms from start, and the time of the last one. */
function play(guard: StallGuard, start: number, gap: number, count: number): number {
  for (let i = 0; i < count; i++) guard.picture(start + i * gap);
  return start + (count - 1) * gap;
}

describe('StallGuard', () => {
  it('waits for the first picture for ever', () => {
    const guard = new StallGuard();
    expect(guard.deadline).toBeNull();
    expect(guard.stalled(1e9)).toBe(false);
  });

  it('gives a fast camera three seconds', () => {
    const guard = new StallGuard();
    const last = play(guard, 0, 40, 100);
    expect(guard.stalled(last + 2999)).toBe(false);
    expect(guard.stalled(last + 3000)).toBe(true);
  });

  it('gives a slow camera a few of its own gaps', () => {
    const guard = new StallGuard();
    const last = play(guard, 0, 5000, 10);
    expect(guard.stalled(last + 19_000)).toBe(false);
    expect(guard.stalled(last + 20_000)).toBe(true);
  });

  it('waits longer after each restart that brought no motion, up to a minute', () => {
    const guard = new StallGuard();
    const limits: number[] = [];
    for (let i = 0; i < 7; i++) {
      guard.picture(i * 100_000);
      limits.push(guard.limit);
      guard.restarted();
    }
    expect(limits).toEqual([3000, 6000, 12_000, 24_000, 48_000, 60_000, 60_000]);
  });

  it('is quick again once there has been motion', () => {
    const guard = new StallGuard();
    guard.picture(0);
    guard.restarted();
    play(guard, 10_000, 40, 50);
    expect(guard.limit).toBe(3000);
    guard.restarted();
    expect(guard.limit).toBe(3000);
  });

  it('does not count the time in which nothing could come', () => {
    const guard = new StallGuard();
    const last = play(guard, 0, 40, 100);
    guard.resume(last + 60_000);
    expect(guard.stalled(last + 60_001)).toBe(false);
    expect(guard.stalled(last + 63_000)).toBe(true);
    guard.picture(last + 63_500);
    expect(guard.limit).toBe(3000);
  });
});
