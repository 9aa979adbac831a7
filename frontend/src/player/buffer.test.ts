import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SegmentBuffer, canPlay } from './buffer';
import { FakeMediaSource, segment, timeRanges } from './fake-mse';
import { parseFragment } from './fragment';
import type { Reason } from './types';

describe('parseFragment', () => {
  it('reads times and key frames', () => {
    expect(parseFragment(segment(90_000, 3000, true))).toEqual({ start: 1, end: 1 + 3000 / 90_000, key: true });
    expect(parseFragment(segment(2 ** 33, 3000, false))).toMatchObject({ start: 2 ** 33 / 90_000, key: false });
  });

  it('knows sound, and what is no segment at all', () => {
    expect(parseFragment(segment(0, 960, true, 2))).toBeNull();
    expect(parseFragment(new ArrayBuffer(0))).toBeNull();
    expect(parseFragment(new TextEncoder().encode('ftypmoovnothing').buffer)).toBeNull();
    const whole = segment(90_000, 3000, true);
    for (let n = 0; n < whole.byteLength; n++) expect(() => parseFragment(whole.slice(0, n))).not.toThrow();
  });
});

describe('SegmentBuffer', () => {
  let video: HTMLVideoElement;
  let broken: Reason[];
  let grown: number;
  let buffer: SegmentBuffer;
  let current: number;

  beforeEach(() => {
    vi.stubGlobal('MediaSource', FakeMediaSource);
    vi.spyOn(URL, 'createObjectURL').mockReturnValue('blob:x');
    video = document.createElement('video');
    current = 0;
    Object.defineProperty(video, 'currentTime', { get: () => current });
    broken = [];
    grown = 0;
    buffer = new SegmentBuffer(video, 'video/mp4; codecs="avc1.42e01f"', {
      grown: () => grown++,
      broken: (reason) => broken.push(reason),
    });
  });

  afterEach(() => {
    buffer.close();
    vi.unstubAllGlobals();
  });

  const source = () => {
    if (!FakeMediaSource.last) throw new Error('no source');
    return FakeMediaSource.last;
  };
  const open = () => {
    source().open();
    const b = source().buffer;
    if (!b) throw new Error('no buffer');
    return b;
  };

  it('waits for the browser, and joins what has gathered meanwhile', () => {
    const a = segment(0, 3000, true);
    buffer.push(a, 0);
    const b = open();
    expect(b.appended).toEqual([a.byteLength]);
    buffer.push(a);
    buffer.push(a);
    expect(b.appended).toHaveLength(1);
    b.done();
    expect(grown).toBe(1);
    expect(b.appended).toEqual([a.byteLength, 2 * a.byteLength]);
  });

  it('throws the past away up to a key frame behind the picture', () => {
    const b = open();
    for (const key of [0, 4, 8, 12, 16, 20]) buffer.push(segment(key * 90_000, 3000, true), key);
    b.done();
    b.ranges = [[0, 21]];
    current = 11.5;
    buffer.push(segment(0, 1, false));
    b.done();
    expect(b.removed).toEqual([]); // 8 seconds of it are kept
    current = 17.5;
    b.done();
    expect(b.removed).toEqual([[0, 16]]);
    b.done();
    expect(b.removed).toHaveLength(1);
  });

  it('makes room when the browser has none, and gives up when that does not help', () => {
    const b = open();
    buffer.push(segment(0, 3000, true), 0);
    b.done();
    buffer.push(segment(0, 3000, true), 2);
    b.done();
    b.ranges = [[0, 5]];
    current = 4;
    b.full = true;
    buffer.push(segment(0, 3000, false));
    expect(b.removed).toEqual([[0, 2]]);
    b.done();
    expect(b.appended).toHaveLength(3);
    b.done();
    b.full = true;
    buffer.push(segment(0, 3000, false));
    expect(broken).toEqual([{ code: 'decode', detail: 'full' }]);
  });

  it('says so when the browser stops taking data', () => {
    for (let i = 0; i < 60 && broken.length === 0; i++) buffer.push(new ArrayBuffer(1 << 20));
    expect(broken[0]?.code).toBe('decode');
  });

  it('lets go of everything', () => {
    const b = open();
    buffer.close();
    b.done();
    buffer.push(segment(0, 1, true), 0);
    expect(grown).toBe(0);
    expect(b.appended).toEqual([]);
    expect(video.getAttribute('src')).toBeNull();
  });

  it('knows what the browser plays, and the kind of source that iPhones have', () => {
    expect(canPlay('video/mp4; codecs="avc1.42e01f"')).toBe(true);
    expect(canPlay('video/mp4; codecs="hvc1.1.6.L93.90"')).toBe(false);
    vi.stubGlobal('MediaSource', undefined);
    expect(canPlay('video/mp4; codecs="avc1.42e01f"')).toBe(false);
    vi.stubGlobal('ManagedMediaSource', FakeMediaSource);
    expect(canPlay('video/mp4; codecs="avc1.42e01f"')).toBe(true);
  });

  it('reports the ranges in order', () => {
    Object.defineProperty(video, 'buffered', { value: timeRanges([[0, 1], [2, 3]]) });
    expect(buffer.ranges()).toEqual([[0, 1], [2, 3]]);
  });
});
