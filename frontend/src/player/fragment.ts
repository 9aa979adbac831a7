/** The video is track 1 of what the server sends, and its clock has so many ticks per second. */
const VIDEO = 1;
export const VIDEO_TICKS = 90_000;

/** What a media segment with one picture says of it, in seconds of media time. */
export interface VideoFragment {
  /** When it is decoded, and until when it lasts. */
  readonly start: number;
  readonly end: number;
  /** Whether the decoder can begin here. */
  readonly key: boolean;
}

/**
 * Reads one message of the server (ISO/IEC 14496-12, section 8.8): null for
 * anything but a moof with a sample of video. Nothing is copied.
 */
export function parseFragment(data: ArrayBuffer): VideoFragment | null {
  const view = new DataView(data);
  const moof = child(view, 0, view.byteLength, 'moof');
  const traf = moof && child(view, moof.from, moof.to, 'traf');
  if (!traf) return null;
  const tfhd = child(view, traf.from, traf.to, 'tfhd');
  const tfdt = child(view, traf.from, traf.to, 'tfdt');
  const trun = child(view, traf.from, traf.to, 'trun');
  if (!tfhd || !tfdt || !trun) return null;
  try {
    if (view.getUint32(tfhd.from + 4) !== VIDEO) return null;
    const long = view.getUint8(tfdt.from) === 1;
    const at = tfdt.from + 4;
    const start = long ? view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4) : view.getUint32(at);
    return sample(view, trun.from, start);
  } catch {
    return null; // cut off in the middle
  }
}

/** Reads the first entry of a trun box (section 8.8.8). */
function sample(view: DataView, from: number, start: number): VideoFragment | null {
  const flags = view.getUint32(from) & 0xffffff;
  let at = from + 8;
  if (flags & 0x1) at += 4; // data offset
  let first = 0;
  if (flags & 0x4) {
    first = view.getUint32(at);
    at += 4;
  }
  if (!(flags & 0x100)) return null;
  const duration = view.getUint32(at);
  at += 4;
  if (flags & 0x200) at += 4;
  if (flags & 0x400) first = view.getUint32(at);
  return {
    start: start / VIDEO_TICKS,
    end: (start + duration) / VIDEO_TICKS,
    key: (first & 0x10000) === 0,
  };
}

interface Box {
  /** The content, without the header. */
  readonly from: number;
  readonly to: number;
}

function child(view: DataView, from: number, to: number, type: string): Box | null {
  const wanted = [...type].reduce((n, c) => (n << 8) | c.charCodeAt(0), 0) >>> 0;
  for (let at = from; at + 8 <= to; ) {
    const size = view.getUint32(at);
    if (size < 8 || at + size > to) return null;
    if (view.getUint32(at + 4) === wanted) return { from: at + 8, to: at + size };
    at += size;
  }
  return null;
}
