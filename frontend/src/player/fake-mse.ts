/** What tests put in place of Media Source Extensions. Nothing here is shipped. */

/** A segment as the server makes them: ticks of 90 kHz, sizes in bytes. */
export function segment(start: number, duration: number, key: boolean, track = 1, size = 4): ArrayBuffer {
  const box = (type: string, ...parts: Uint8Array[]): Uint8Array => {
    const length = 8 + parts.reduce((n, p) => n + p.length, 0);
    const out = new Uint8Array(length);
    new DataView(out.buffer).setUint32(0, length);
    out.set(new TextEncoder().encode(type), 4);
    let at = 8;
    for (const part of parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  };
  const words = (...values: number[]) => {
    const out = new Uint8Array(4 * values.length);
    values.forEach((v, i) => new DataView(out.buffer).setUint32(4 * i, v));
    return out;
  };
  // Key frames come without flags of their own, as the server's library writes them.
  const trun = key
    ? words(0x0100_0301, 1, 0, duration, size)
    : words(0x0100_0701, 1, 0, duration, size, 0x10000);
  const traf = box(
    'traf',
    box('tfhd', words(0x20000, track)),
    box('tfdt', words(0x0100_0000, Math.floor(start / 2 ** 32), start % 2 ** 32)),
    box('trun', trun),
  );
  const moof = box('moof', box('mfhd', words(0, 1)), traf);
  const mdat = box('mdat', new Uint8Array(size));
  const all = new Uint8Array(moof.length + mdat.length);
  all.set(moof);
  all.set(mdat, moof.length);
  return all.buffer;
}

export class FakeSourceBuffer extends EventTarget {
  updating = false;
  appended: number[] = [];
  removed: [number, number][] = [];
  full = false;
  ranges: [number, number][] = [];

  constructor(readonly mime: string) {
    super();
  }

  get buffered() {
    return timeRanges(this.ranges);
  }

  appendBuffer(data: ArrayBuffer) {
    if (this.full) {
      this.full = false;
      throw new DOMException('full', 'QuotaExceededError');
    }
    this.appended.push(data.byteLength);
    this.updating = true;
  }

  remove(from: number, to: number) {
    this.removed.push([from, to]);
    this.ranges = this.ranges.map(([a, b]) => [Math.max(a, to), b]);
    this.updating = true;
  }

  /** The browser has done what it was told. */
  done() {
    this.updating = false;
    this.dispatchEvent(new Event('updateend'));
  }
}

export function timeRanges(list: [number, number][]): TimeRanges {
  return {
    length: list.length,
    start: (i: number) => list[i]?.[0] ?? NaN,
    end: (i: number) => list[i]?.[1] ?? NaN,
  };
}

export class FakeMediaSource extends EventTarget {
  static last: FakeMediaSource | null = null;
  static supported = (mime: string) => !mime.includes('hvc1');
  static isTypeSupported(mime: string) {
    return FakeMediaSource.supported(mime);
  }

  readyState = 'closed';
  buffer: FakeSourceBuffer | null = null;

  constructor() {
    super();
    FakeMediaSource.last = this;
  }

  addSourceBuffer(mime: string) {
    if (mime.includes('bad')) throw new DOMException('no', 'NotSupportedError');
    this.buffer = new FakeSourceBuffer(mime);
    return this.buffer;
  }

  open() {
    this.readyState = 'open';
    this.dispatchEvent(new Event('sourceopen'));
  }
}
