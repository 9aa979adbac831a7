import type { PlayerStats, RungName } from '../../player';

type Translate = (key: string, named?: Record<string, unknown>) => string;

export interface Entry {
  readonly name: string;
  readonly value: string;
}

/** The numbers of a stream in words, for the line below the picture and for the panel. */
export class Numbers {
  readonly #t: Translate;
  readonly #locale: string;

  constructor(t: Translate, locale: string) {
    this.#t = t;
    this.#locale = locale;
  }

  number(value: number, digits = 0): string {
    return new Intl.NumberFormat(this.#locale, { maximumFractionDigits: digits }).format(value);
  }

  rate(bits: number): string {
    if (bits < 1e6) return this.#t('camera.kbit', { n: this.number(bits / 1e3) });
    return this.#t('camera.mbit', { n: this.number(bits / 1e6, 1) });
  }

  /** The line: what is known, most telling first. */
  short(stats: PlayerStats): Entry[] {
    const { delay, codec, width, height, fps, bitrate, lost } = stats;
    const all: Entry[] = [];
    const add = (name: string, value: string) => all.push({ name: this.#t(name), value });
    if (delay !== undefined) add('camera.delay', this.#t('camera.ms', { n: this.number(delay) }));
    if (codec) add('camera.codec', codec);
    if (width && height) add('camera.size', `${width}×${height}`);
    if (fps !== undefined) add('camera.fps', this.#fps(fps));
    if (bitrate !== undefined) add('camera.bitrate', this.rate(bitrate));
    if (lost) add('view.lost', this.#t('view.lostShort', { n: this.number(lost) }));
    return all;
  }

  /** The panel: always the same rows, so that nothing moves while it is read. */
  long(stats: PlayerStats, rung: RungName | null): Entry[] {
    const unknown = this.#t('view.unknown');
    const { delay, rtt, codec, width, height, fps, bitrate, lost } = stats;
    const ms = (value: number | undefined, digits: number) =>
      value === undefined ? unknown : this.#t('camera.ms', { n: this.number(value, digits) });
    const what = rung === 'webrtc' ? 'view.lostPackets' : 'view.lostPictures';
    return [
      { name: this.#t('camera.delay'), value: ms(delay, 0) },
      { name: this.#t('view.rtt'), value: ms(rtt, 1) },
      { name: this.#t('camera.codec'), value: codec ?? unknown },
      { name: this.#t('camera.size'), value: width && height ? `${width}×${height}` : unknown },
      { name: this.#t('camera.fps'), value: fps === undefined ? unknown : this.#fps(fps) },
      { name: this.#t('camera.bitrate'), value: bitrate === undefined ? unknown : this.rate(bitrate) },
      { name: this.#t('view.lost'), value: lost === undefined ? unknown : this.#t(what, { n: this.number(lost) }) },
    ];
  }

  #fps(fps: number): string {
    return this.#t('camera.perSecond', { n: this.number(fps, fps < 9.5 ? 1 : 0) });
  }
}
