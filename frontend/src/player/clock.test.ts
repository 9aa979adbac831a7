import { describe, expect, it } from 'vitest';
import { ClockSync, DelayMeter, Meter, RunningMedian, capturedAt } from './clock';

describe('RunningMedian', () => {
  it('takes the middle of the last values', () => {
    const median = new RunningMedian(3);
    expect(median.value).toBeUndefined();
    for (const v of [100, 1, 2, 3]) median.add(v);
    expect(median.value).toBe(2);
  });
});

describe('ClockSync', () => {
  it('believes the exchange with the shortest way', () => {
    const clock = new ClockSync();
    expect(clock.serverTime(0)).toBeUndefined();
    clock.add(1000, 51_090, 1100); // late on the way back: offset 50 040
    clock.add(2000, 52_002, 2004); // offset 50 000
    expect(clock.rtt).toBe(4);
    expect(clock.serverTime(3000)).toBe(53_000);
  });

  it('forgets exchanges older than ten, because clocks drift', () => {
    const clock = new ClockSync();
    clock.add(0, 1_000_000, 1);
    for (let i = 1; i <= 10; i++) clock.add(i * 1000, 2_000_000 + i * 1000, i * 1000 + 10);
    expect(clock.rtt).toBe(10);
    expect(clock.serverTime(0)).toBe(2_000_000 - 5);
  });

  it('does not let nonsense in', () => {
    const clock = new ClockSync();
    clock.add(10, NaN, 20);
    clock.add(20, 5, 10);
    expect(clock.rtt).toBeUndefined();
  });
});

describe('capturedAt', () => {
  const mark = { rtp: 1000, captured: 5_000_000, rate: 90_000 };

  it('counts in both directions', () => {
    expect(capturedAt(mark, 1000 + 9000)).toBe(5_000_100);
    expect(capturedAt({ ...mark, rtp: 9000 }, 0)).toBe(4_999_900);
  });

  it('survives the wrap of 32 bits both ways', () => {
    expect(capturedAt({ ...mark, rtp: 0xffffffff - 89 }, 0)).toBe(5_000_001);
    expect(capturedAt({ ...mark, rtp: 0 }, 0xffffffff - 89)).toBe(4_999_999);
  });
});

describe('DelayMeter', () => {
  it('says nothing before the clock is known', () => {
    const meter = new DelayMeter(new ClockSync());
    meter.add(1, 2);
    expect(meter.value).toBeUndefined();
  });

  it('tells the median from capture to screen, never below zero', () => {
    const clock = new ClockSync();
    clock.add(0, 1_000_000, 0);
    const meter = new DelayMeter(clock);
    meter.add(1_000_001, 0);
    expect(meter.value).toBe(0);
    for (const delay of [30, 40, 500, 41, 39]) meter.add(1_000_100 - delay, 100);
    expect(meter.value).toBe(40);
  });

  it('ignores what a jump of the clock brings', () => {
    const clock = new ClockSync();
    clock.add(0, 1_000_000, 0);
    const meter = new DelayMeter(clock);
    meter.add(1_000_000 - 3_600_000, 0);
    meter.add(NaN, 0);
    expect(meter.value).toBeUndefined();
  });
});

describe('Meter', () => {
  it('counts per second over its window', () => {
    const meter = new Meter(3000);
    meter.add(0);
    expect(meter.rate(0)).toBeUndefined();
    for (let t = 40; t <= 2000; t += 40) meter.add(t);
    expect(meter.rate(2000)).toBeCloseTo(25);
    expect(meter.rate(9000)).toBeUndefined();
  });

  it('counts amounts', () => {
    const meter = new Meter(3000);
    meter.add(0, 999);
    meter.add(1000, 500);
    meter.add(2000, 500);
    expect(meter.rate(2000)).toBe(500);
  });
});
