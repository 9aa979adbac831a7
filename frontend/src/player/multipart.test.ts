import { describe, expect, it } from 'vitest';
import { MultipartError, MultipartParser, boundaryOf } from './multipart';
import type { Part } from './multipart';

const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const text = (data: Uint8Array) => String.fromCharCode(...data);

function run(stream: Uint8Array, sizes: () => number, boundary = 'frame'): Part[] {
  const parser = new MultipartParser(boundary);
  const parts: Part[] = [];
  for (let at = 0; at < stream.length; ) {
    const size = Math.max(1, sizes());
    // A chunk's memory is reused by its owner, so the parser must not keep it.
    const chunk = stream.slice(at, at + size);
    parts.push(...parser.push(chunk));
    chunk.fill(0);
    at += size;
  }
  return parts;
}

// Bodies with everything in them that could be mistaken for something else.
const BODIES = ['\xff\xd8one\r\n\xff\xd9', '', '\r\n--fram\n--\r\n\r\n', 'x'.repeat(3000), '\n-\n--frame'.slice(0, 8)];

function counted(bodies: string[], boundary = '--frame'): Uint8Array {
  return bytes(
    bodies
      .map(
        (b, i) =>
          `${boundary}\r\nContent-Type: image/jpeg\r\ncontent-length:${b.length}\r\nX-Timestamp: ${i}.5\r\n\r\n${b}\r\n`,
      )
      .join('') + boundary + '\r\n',
  );
}

function scanned(bodies: string[]): Uint8Array {
  return bytes(bodies.map((b) => `--frame\r\nContent-Type: image/jpeg\r\n\r\n${b}\r\n`).join('') + '--frame--\r\n');
}

describe('MultipartParser', () => {
  it('cuts a stream with Content-Length, split everywhere', () => {
    const stream = counted(BODIES);
    for (const size of [1, 2, 3, 7, 64, 1000, stream.length]) {
      const parts = run(stream, () => size);
      expect(parts.map((p) => text(p.body))).toEqual(BODIES);
      expect(parts.map((p) => p.headers.get('x-timestamp'))).toEqual(BODIES.map((_, i) => `${i}.5`));
    }
    const short = counted(['ab', 'c']);
    for (let cut = 1; cut < short.length; cut++) {
      let first = true;
      const parts = run(short, () => (first ? ((first = false), cut) : short.length));
      expect(parts.map((p) => text(p.body))).toEqual(['ab', 'c']);
    }
  });

  it('cuts a stream without Content-Length, split everywhere', () => {
    const bodies = BODIES.filter((b) => b.length > 0);
    const stream = scanned(bodies);
    for (const size of [1, 2, 3, 7, 64, 1000, stream.length]) {
      expect(run(stream, () => size).map((p) => text(p.body))).toEqual(bodies);
    }
  });

  it('cuts random streams into random chunks', () => {
    let seed = 11;
    const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
    for (let round = 0; round < 60; round++) {
      const bodies = Array.from({ length: 5 }, () =>
        Array.from({ length: 1 + Math.floor(random() * 400) }, () => '\r\n-frame\xff'[Math.floor(random() * 9)]).join(''),
      ).filter((b) => !b.includes('\n--frame') && !b.startsWith('--frame'));
      const chunk = () => Math.floor(random() * 90);
      expect(run(counted(bodies), chunk).map((p) => text(p.body))).toEqual(bodies);
      expect(run(scanned(bodies), chunk).map((p) => text(p.body))).toEqual(bodies);
    }
  });

  it('has the part with its last byte, not with the next boundary', () => {
    const parser = new MultipartParser('frame');
    expect(parser.push(bytes('--frame\r\nContent-Length: 3\r\n\r\nabc'))).toHaveLength(1);
  });

  it('bears a preamble, plain line feeds and a boundary named with its dashes', () => {
    const stream = bytes('hello\r\n--frame\nContent-Length: 2\n\nab\n--frame\nContent-Length: 1\n\nc\n');
    expect(run(stream, () => 5, '--frame').map((p) => text(p.body))).toEqual(['ab', 'c']);
  });

  it('is silent after the end', () => {
    const parser = new MultipartParser('frame');
    expect(parser.push(scanned(['a']))).toHaveLength(1);
    expect(parser.push(scanned(['b']))).toHaveLength(0);
  });

  it.each([
    ['a length that is no number', '--frame\r\nContent-Length: -1\r\n\r\n'],
    ['a length beyond all pictures', '--frame\r\nContent-Length: 999999999\r\n\r\n'],
    ['endless headers', '--frame\r\n' + 'A: b\r\n'.repeat(3000)],
    ['an endless line', 'x'.repeat(20_000)],
    ['no boundary at all', 'x\n'.repeat(40_000)],
  ])('refuses %s', (_name, stream) => {
    expect(() => run(bytes(stream), () => 1000)).toThrow(MultipartError);
  });

  it('never throws anything else and never grows without bounds on random bytes', () => {
    let seed = 3;
    const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
    const pieces = ['--frame', '\r\n', '\n', 'Content-Length: ', '5', '0', ':', '--', '\xff\xd8', 'abc', '\r\n\r\n'];
    for (let round = 0; round < 3000; round++) {
      const parser = new MultipartParser('frame');
      try {
        for (let i = 0; i < 30; i++) {
          const n = Math.floor(random() * 6);
          parser.push(bytes(Array.from({ length: n }, () => pieces[Math.floor(random() * pieces.length)]).join('')));
        }
      } catch (err) {
        expect(err).toBeInstanceOf(MultipartError);
      }
    }
  });
});

describe('boundaryOf', () => {
  it.each([
    ['multipart/x-mixed-replace; boundary=frame', 'frame'],
    ['multipart/x-mixed-replace;boundary="a b"', 'a b'],
    ['Multipart/X-Mixed-Replace; charset=x; Boundary=--b ; x=y', '--b'],
    ['image/jpeg; boundary=frame', null],
    ['multipart/x-mixed-replace', null],
    ['', null],
    [null, null],
  ])('%s: %s', (type, want) => {
    expect(boundaryOf(type)).toBe(want);
  });
});
