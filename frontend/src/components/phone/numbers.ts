import type { PublisherStats } from '../../phone';

type Translate = (key: string, named: Record<string, unknown>) => string;

/** What is sent right now, in a few words: size, pace, rate. */
export function pace(stats: PublisherStats, t: Translate, locale: string): string[] {
  const number = (value: number, digits = 0) =>
    new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value);
  const out: string[] = [];
  if (stats.width && stats.height) out.push(`${stats.width}×${stats.height}`);
  if (stats.fps !== undefined) out.push(t('phone.fps', { n: number(stats.fps, stats.fps < 9.5 ? 1 : 0) }));
  if (stats.bitrate !== undefined) {
    out.push(
      stats.bitrate < 1e6
        ? t('phone.kbit', { n: number(stats.bitrate / 1e3) })
        : t('phone.mbit', { n: number(stats.bitrate / 1e6, 1) }),
    );
  }
  if (stats.rtt !== undefined) out.push(t('phone.ms', { n: number(stats.rtt) }));
  return out;
}
