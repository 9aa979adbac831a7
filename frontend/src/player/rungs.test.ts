import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClockSync } from './clock';
import { MjpegRung } from './mjpeg';
import { Urls } from './rung';
import type { RungContext } from './rung';
import { StillsRung } from './stills';
import type { Reason } from './types';

/** What a rung says, in order. */
let said: string[];
let reasons: Reason[];

function context(): RungContext {
  return {
    camera: 'door',
    url: new Urls('http://cam.test:8080', 'door'),
    clock: new ClockSync(),
    stillsWidth: 480,
    events: {
      picture: () => said.push('picture'),
      source: (state) => said.push(state),
      down: (reason) => {
        said.push('down ' + reason.code);
        reasons.push(reason);
      },
    },
  };
}

/** A body that the test feeds. */
function feed() {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({ start: (c) => void (controller = c) });
  const encoder = new TextEncoder();
  return {
    body,
    part(timestamp: number, data = 'jpeg') {
      controller.enqueue(
        encoder.encode(
          `--b\r\nContent-Type: image/jpeg\r\nContent-Length: ${data.length}\r\nX-Timestamp: ${timestamp}\r\n\r\n${data}\r\n`,
        ),
      );
    },
    raw: (text: string) => controller.enqueue(encoder.encode(text)),
    end: () => controller.close(),
  };
}

const fetched: { url: string; signal: AbortSignal }[] = [];
let answer: (url: string) => Response | Promise<Response>;
/** Resolves the pictures that are being decoded. */
let decoding: ((ok: boolean) => void)[];
let decodeAtOnce: boolean;

beforeEach(() => {
  vi.useFakeTimers();
  said = [];
  reasons = [];
  decoding = [];
  decodeAtOnce = true;
  fetched.length = 0;
  vi.stubGlobal('fetch', (url: string, init: { signal: AbortSignal }) => {
    fetched.push({ url, signal: init.signal });
    return new Promise<Response>((resolve, reject) => {
      init.signal.addEventListener('abort', () => reject(new Error('aborted')));
      Promise.resolve(answer(url)).then(resolve, reject);
    });
  });
  vi.stubGlobal('createImageBitmap', (blob: Blob) => {
    const picture = { width: 640, height: 480, close: () => undefined, blob };
    if (decodeAtOnce) return Promise.resolve(picture);
    return new Promise((resolve, reject) =>
      decoding.push((ok) => (ok ? resolve(picture) : reject(new Error('broken')))),
    );
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

const settle = () => vi.advanceTimersByTimeAsync(0);
const multipart = { headers: { 'Content-Type': 'multipart/x-mixed-replace; boundary=b' } };

describe('MjpegRung', () => {
  it('draws every picture, and none twice', async () => {
    const stream = feed();
    answer = (url) => (url.includes('snapshot') ? new Response(null, { status: 404 }) : new Response(stream.body, multipart));
    const rung = new MjpegRung(context());
    rung.start();
    stream.part(1);
    await settle();
    stream.part(1);
    stream.part(2);
    await settle();
    expect(said).toEqual(['picture', 'picture']);
    expect(rung.surface.width).toBe(640);
    rung.stop();
    await settle();
    expect(said).toHaveLength(2);
    expect(fetched[0]?.url).toBe('http://cam.test:8080/api/camera/mjpeg/door');
    expect(fetched[0]?.signal.aborted).toBe(true);
  });

  it('drops to the newest picture when decoding is slow', async () => {
    const stream = feed();
    answer = (url) => (url.includes('snapshot') ? new Response(null, { status: 404 }) : new Response(stream.body, multipart));
    decodeAtOnce = false;
    const rung = new MjpegRung(context());
    rung.start();
    for (const t of [1, 2, 3, 4]) {
      stream.part(t);
      await settle();
    }
    expect(decoding).toHaveLength(1);
    decoding.shift()?.(true);
    await settle();
    decoding.shift()?.(true);
    await settle();
    expect(decoding).toHaveLength(0);
    expect(said).toEqual(['picture', 'picture']);
    expect(await rung.stats()).toMatchObject({ codec: 'JPEG', lost: 2 });
    rung.stop();
    await settle();
  });

  it('tells the delay by the clock that a snapshot gives away', async () => {
    const stream = feed();
    const serverNow = () => 5_000_000 + performance.now();
    answer = (url) =>
      url.includes('snapshot')
        ? new Response('x', {
            headers: { 'X-Frame-Timestamp': String((serverNow() - 40) / 1000), 'X-Frame-Age-Ms': '40' },
          })
        : new Response(stream.body, multipart);
    const rung = new MjpegRung(context());
    rung.start();
    await settle();
    stream.part((serverNow() - 123) / 1000);
    await settle();
    expect((await rung.stats()).delay).toBeCloseTo(123, 0);
    rung.stop();
    await settle();
  });

  it.each([
    ['unauthorized', () => Response.json({ error: 'token?' }, { status: 401 })],
    ['refused', () => Response.json({ error: 'no picture' }, { status: 503 })],
    ['decode', () => new Response('<html>')],
    ['unreachable', () => Promise.reject(new TypeError('failed'))],
  ])('reports %s', async (code, reply) => {
    answer = reply as () => Response;
    const rung = new MjpegRung(context());
    rung.start();
    await settle();
    expect(said).toEqual(['down ' + code]);
    rung.stop();
  });

  it('passes on the words of the server', async () => {
    answer = () => Response.json({ error: 'no picture yet' }, { status: 503 });
    const rung = new MjpegRung(context());
    rung.start();
    await settle();
    expect(reasons).toEqual([{ code: 'refused', detail: 'no picture yet' }]);
    rung.stop();
  });

  it('reports the end of the stream, long silence and nonsense', async () => {
    for (const [act, code] of [
      [(s: ReturnType<typeof feed>) => s.end(), 'silent'],
      [() => vi.advanceTimersByTimeAsync(20_000), 'silent'],
      [(s: ReturnType<typeof feed>) => s.raw('--b\r\nContent-Length: many\r\n\r\n'), 'decode'],
    ] as const) {
      said = [];
      const stream = feed();
      answer = (url) => (url.includes('snapshot') ? new Response(null, { status: 404 }) : new Response(stream.body, multipart));
      const rung = new MjpegRung(context());
      rung.start();
      await settle();
      await act(stream);
      await settle();
      expect(said).toEqual(['down ' + code]);
      rung.stop();
    }
  });

  it('bears a broken picture, but not a row of them', async () => {
    const stream = feed();
    answer = (url) => (url.includes('snapshot') ? new Response(null, { status: 404 }) : new Response(stream.body, multipart));
    decodeAtOnce = false;
    const rung = new MjpegRung(context());
    rung.start();
    for (let t = 0; t < 10; t++) {
      expect(said).toEqual([]);
      stream.part(t);
      await settle();
      decoding.shift()?.(false);
      await settle();
    }
    expect(said).toEqual(['down decode']);
    rung.stop();
  });
});

describe('StillsRung', () => {
  const still = (timestamp: string) =>
    new Response('jpeg', { headers: { 'X-Frame-Timestamp': timestamp, 'X-Frame-Age-Ms': '5' } });

  it('asks once a second, in the size wanted', async () => {
    answer = () => still(String(fetched.length));
    const rung = new StillsRung(context());
    rung.start();
    await vi.advanceTimersByTimeAsync(3500);
    expect(fetched).toHaveLength(4);
    expect(fetched[0]?.url).toBe('http://cam.test:8080/api/camera/snapshot/door?width=480');
    expect(said).toEqual(['picture', 'picture', 'picture', 'picture']);
    rung.stop();
    await vi.advanceTimersByTimeAsync(5000);
    expect(fetched).toHaveLength(4);
  });

  it('does not take an old picture for a new one', async () => {
    answer = () => still('7');
    const rung = new StillsRung(context());
    rung.start();
    await vi.advanceTimersByTimeAsync(3500);
    expect(said).toEqual(['picture']);
    rung.stop();
  });

  it('never has two requests on the way, and gives up on one that hangs', async () => {
    answer = () => new Promise(() => undefined);
    const rung = new StillsRung(context());
    rung.start();
    await vi.advanceTimersByTimeAsync(7999);
    expect(fetched).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(said).toEqual(['down silent']);
    rung.stop();
    await settle();
    expect(fetched[0]?.signal.aborted).toBe(true);
    expect(said).toHaveLength(1);
  });

  it('takes a 404 for a camera without a picture yet', async () => {
    answer = () => Response.json({ error: 'no frame', device_id: 'door' }, { status: 404 });
    const rung = new StillsRung(context());
    rung.start();
    await settle();
    expect(reasons).toEqual([{ code: 'refused', detail: 'no frame' }]);
    rung.stop();
  });
});

describe('Urls', () => {
  it('keeps a path prefix, escapes the camera and carries the token', () => {
    const urls = new Urls('https://host/cams/', 'a b', 't&k');
    expect(urls.signal()).toBe('wss://host/cams/api/signal/a%20b?token=t%26k');
    expect(urls.snapshot(480)).toBe('https://host/cams/api/camera/snapshot/a%20b?token=t%26k&width=480');
    expect(new Urls('http://h:1/?x=y#z', 'c').mjpeg()).toBe('http://h:1/api/camera/mjpeg/c');
  });
});
