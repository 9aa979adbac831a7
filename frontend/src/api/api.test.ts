import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Api, ApiError, UnreachableError } from './client';
import { parseCameras } from './types';
import type { Camera } from './types';
import { CameraWatch } from './watch';
import type { Cameras } from './watch';

describe('parseCameras', () => {
  it('reads an entry', () => {
    const [camera] = parseCameras([
      { device_id: 'door', name: 'Door', source_type: 'rtsp', state: 'lost', error: 'timeout', codec: 'H264', width: 1280, height: 720, fps: 25, last_frame_age: 0.04 },
    ]);
    expect(camera).toEqual({
      id: 'door', name: 'Door', sourceType: 'rtsp', state: 'lost', error: 'timeout', codec: 'H264', width: 1280, height: 720, fps: 25, lastFrameAge: 0.04,
    });
  });

  it('does with less, and bears nonsense', () => {
    const list = parseCameras([{ device_id: 'a', active: true, width: null, fps: 'x' }, { device_id: 'b', state: 'toString' }, {}, null, 5]);
    expect(list.map((c) => [c.id, c.name, c.state, c.width])).toEqual([
      ['a', 'a', 'live', 0],
      ['b', 'b', 'connecting', 0],
    ]);
    expect(parseCameras({ error: 'x' })).toEqual([]);
  });
});

describe('Api', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('signs in with a token', async () => {
    const fetch = vi.fn().mockResolvedValue(new Response(null, { status: 204 }));
    vi.stubGlobal('fetch', fetch);
    await new Api('http://h/').signIn('secret');
    expect(fetch.mock.calls[0]?.[0]).toBe('http://h/api/session');
    expect(fetch.mock.calls[0]?.[1]).toMatchObject({ method: 'POST', body: '{"token":"secret"}' });
  });

  it('tells a no from silence', async () => {
    vi.stubGlobal('fetch', () => Promise.resolve(Response.json({ error: 'who are you?' }, { status: 401 })));
    await expect(new Api().cameras()).rejects.toEqual(new ApiError(401, 'who are you?'));
    vi.stubGlobal('fetch', () => Promise.resolve(new Response('<html>', { status: 502 })));
    await expect(new Api().cameras()).rejects.toEqual(new ApiError(502, 'HTTP 502'));
    vi.stubGlobal('fetch', () => Promise.reject(new TypeError()));
    await expect(new Api().cameras()).rejects.toBeInstanceOf(UnreachableError);
    vi.stubGlobal('fetch', () => Promise.resolve(new Response('[{"dev')));
    await expect(new Api().cameras()).rejects.toBeInstanceOf(UnreachableError);
  });
});

describe('CameraWatch', () => {
  let answers: (() => Promise<Camera[]>)[];
  let asked: number[];
  let told: Cameras[];
  let hidden: boolean;
  let watch: CameraWatch;
  const list = parseCameras([{ device_id: 'a' }]);

  beforeEach(() => {
    vi.useFakeTimers();
    hidden = false;
    vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
    answers = [];
    asked = [];
    told = [];
    const start = performance.now();
    watch = new CameraWatch(
      () => {
        asked.push(performance.now() - start);
        return (answers.shift() ?? (() => Promise.resolve(list)))();
      },
      (c) => told.push(c),
    );
  });

  afterEach(() => {
    watch.stop();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  it('asks every two seconds', async () => {
    watch.start();
    await vi.advanceTimersByTimeAsync(6000);
    expect(asked).toEqual([0, 2000, 4000, 6000]);
    expect(told[0]).toEqual({ list, loaded: true, link: 'ok', message: '' });
  });

  it('keeps the last list while the server is away, and asks ever more rarely', async () => {
    watch.start();
    await vi.advanceTimersByTimeAsync(0);
    for (let i = 0; i < 6; i++) answers.push(() => Promise.reject(new UnreachableError(null)));
    await vi.advanceTimersByTimeAsync(40_000);
    expect(asked.slice(0, 7)).toEqual([0, 2000, 4000, 8000, 13_000, 18_000, 23_000]);
    expect(told[1]).toEqual({ list, loaded: true, link: 'away', message: '' });
  });

  it('asks at once when the network is back', async () => {
    watch.start();
    await vi.advanceTimersByTimeAsync(500);
    dispatchEvent(new Event('online'));
    expect(asked).toEqual([0, 500]);
    await vi.advanceTimersByTimeAsync(2000);
    expect(asked).toEqual([0, 500, 2500]);
  });

  it('asks rarely in a hidden page, and at once when it is visible', async () => {
    watch.start();
    hidden = true;
    await vi.advanceTimersByTimeAsync(40_000);
    expect(asked).toEqual([0, 30_000]);
    hidden = false;
    document.dispatchEvent(new Event('visibilitychange'));
    expect(asked).toHaveLength(3);
  });

  it('never asks twice at a time, but once more when asked meanwhile', async () => {
    let finish!: () => void;
    answers.push(() => new Promise((resolve) => (finish = () => resolve([]))));
    watch.start();
    watch.refresh();
    watch.refresh();
    expect(asked).toHaveLength(1);
    finish();
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveLength(2);
    expect(told.at(-1)?.list).toEqual(list);
  });

  it('says when the server wants to know who asks, and when it says no', async () => {
    answers.push(() => Promise.reject(new ApiError(401, 'token?')));
    answers.push(() => Promise.reject(new ApiError(403, 'host not allowed')));
    watch.start();
    await vi.advanceTimersByTimeAsync(2000);
    expect(told.map((t) => t.link)).toEqual(['signed-out', 'error']);
    expect(told[1]?.message).toBe('host not allowed');
  });

  it('is silent after stop', async () => {
    watch.start();
    watch.stop();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(told).toEqual([]);
    expect(asked).toHaveLength(1);
  });
});
