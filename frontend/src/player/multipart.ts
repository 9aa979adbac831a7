/** One part of a multipart/x-mixed-replace stream. */
export interface Part {
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array<ArrayBuffer>;
}

export class MultipartError extends Error {}

/** The boundary of a Content-Type, or null when it is no multipart type (RFC 2046 section 5.1.1). */
export function boundaryOf(contentType: string | null): string | null {
  if (!contentType || !/^\s*multipart\//i.test(contentType)) return null;
  const found = /;\s*boundary\s*=\s*(?:"([^"]+)"|([^\s;"]+))/i.exec(contentType);
  return found?.[1] ?? found?.[2] ?? null;
}

const LARGEST_BODY = 32 << 20;
const LARGEST_HEADERS = 8 << 10;
const LARGEST_PREAMBLE = 64 << 10;

const LF = 10;
const CR = 13;
const DASH = 45;
const EMPTY = new Uint8Array(0);

/**
 * Cuts a multipart stream into its parts, whatever the chunks. Parts with a
 * Content-Length are copied once and are there with their last byte; parts
 * without one are there when the next boundary has come.
 */
export class MultipartParser {
  readonly #delimiter: string;
  readonly #end: Uint8Array;
  #state: 'preamble' | 'headers' | 'counted' | 'scanned' | 'finished' = 'preamble';
  #rest: Uint8Array = EMPTY;
  #skipped = 0;
  #headerBytes = 0;
  #headers = new Map<string, string>();
  #body: Uint8Array<ArrayBuffer> = EMPTY;
  #filled = 0;
  #searched = 0;

  constructor(boundary: string) {
    // Some servers name the boundary with the two dashes already on it.
    this.#delimiter = boundary.startsWith('--') ? boundary : '--' + boundary;
    this.#end = new TextEncoder().encode('\n' + this.#delimiter);
  }

  /** The whole parts that this chunk completes. Throws MultipartError on bytes that are no such stream. */
  push(chunk: Uint8Array): Part[] {
    const parts: Part[] = [];
    let data = this.#rest.length > 0 ? join(this.#rest, chunk) : chunk;
    this.#rest = EMPTY;
    for (;;) {
      const used = this.#step(data, parts);
      if (used === 0) break;
      data = data.subarray(used);
    }
    // A copy: the chunk belongs to its sender.
    this.#rest = this.#state === 'finished' ? EMPTY : data.slice();
    return parts;
  }

  /** Handles what it can and returns the bytes used; 0 for "more, please". */
  #step(data: Uint8Array, parts: Part[]): number {
    switch (this.#state) {
      case 'preamble':
        return this.#preamble(data);
      case 'headers':
        return this.#header(data);
      case 'counted':
        return this.#counted(data, parts);
      case 'scanned':
        return this.#scanned(data, parts);
      case 'finished':
        return 0;
    }
  }

  #preamble(data: Uint8Array): number {
    const [text, used] = line(data, LARGEST_HEADERS);
    if (text === null) return 0;
    if (text === this.#delimiter) {
      this.#state = 'headers';
      this.#skipped = 0;
      this.#headerBytes = 0;
      this.#headers = new Map();
    } else if (text === this.#delimiter + '--') {
      this.#state = 'finished';
    } else {
      this.#skipped += used;
      if (this.#skipped > LARGEST_PREAMBLE) throw new MultipartError('no boundary found');
    }
    return used;
  }

  #header(data: Uint8Array): number {
    const [text, used] = line(data, LARGEST_HEADERS);
    if (text === null) return 0;
    this.#headerBytes += used;
    if (this.#headerBytes > LARGEST_HEADERS) throw new MultipartError('part headers too long');
    if (text !== '') {
      const colon = text.indexOf(':');
      if (colon > 0) this.#headers.set(text.slice(0, colon).trim().toLowerCase(), text.slice(colon + 1).trim());
      return used;
    }
    this.#beginBody();
    return used;
  }

  #beginBody(): void {
    const length = this.#headers.get('content-length');
    this.#filled = 0;
    if (length === undefined) {
      this.#state = 'scanned';
      this.#searched = 0;
      return;
    }
    if (!/^\d{1,9}$/.test(length) || Number(length) > LARGEST_BODY) {
      throw new MultipartError(`impossible Content-Length "${length.slice(0, 20)}"`);
    }
    this.#body = new Uint8Array(Number(length));
    this.#state = 'counted';
  }

  #counted(data: Uint8Array, parts: Part[]): number {
    const used = Math.min(data.length, this.#body.length - this.#filled);
    this.#body.set(data.subarray(0, used), this.#filled);
    this.#filled += used;
    if (this.#filled === this.#body.length) {
      this.#emit(this.#body, parts);
      // An empty body uses no byte, and yet there is more to do.
      return used === 0 ? this.#preamble(data) : used;
    }
    return used;
  }

  #scanned(data: Uint8Array, parts: Part[]): number {
    const at = indexOf(data, this.#end, this.#searched);
    if (at < 0) {
      if (data.length > LARGEST_BODY) throw new MultipartError('part too long');
      this.#searched = Math.max(0, data.length - this.#end.length);
      return 0;
    }
    // The line break before the boundary belongs to the boundary.
    const end = at > 0 && data[at - 1] === CR ? at - 1 : at;
    this.#emit(data.slice(0, end), parts);
    return at + 1;
  }

  #emit(body: Uint8Array<ArrayBufferLike>, parts: Part[]): void {
    parts.push({ headers: this.#headers, body: body as Uint8Array<ArrayBuffer> });
    this.#body = EMPTY;
    this.#state = 'preamble';
  }
}

/** The first line without its end and the bytes it takes; null while it is not all there. */
function line(data: Uint8Array, limit: number): [string | null, number] {
  const at = data.indexOf(LF);
  if (at < 0 || at > limit) {
    if (data.length > limit) throw new MultipartError('line too long');
    return [null, 0];
  }
  const end = at > 0 && data[at - 1] === CR ? at - 1 : at;
  return [latin1(data.subarray(0, end)), at + 1];
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const b of bytes) text += String.fromCharCode(b);
  return text;
}

function indexOf(data: Uint8Array, what: Uint8Array, from: number): number {
  // Line feeds are common in JPEG data, a dash after one is not.
  for (let i = data.indexOf(LF, from); i >= 0; i = data.indexOf(LF, i + 1)) {
    if (i + what.length > data.length) return -1;
    if (data[i + 1] !== DASH) continue;
    let k = 2;
    while (k < what.length && data[i + k] === what[k]) k++;
    if (k === what.length) return i;
  }
  return -1;
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
