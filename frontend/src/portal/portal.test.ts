import { describe, expect, it } from 'vitest';
import { Freshness, PageCare, spreadOf } from './care';
import type { Look } from './care';
import { certutil, chromium, portalLink, policy, unit } from './kiosk';
import { portalId } from './me';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const well: Look = { now: 0, timeOfDay: 12 * HOUR, live: true, expected: true, reachable: true };

describe('PageCare', () => {
  it('leaves a page alone that works', () => {
    const care = new PageCare(0, 0.5);
    for (let now = 0; now < 19 * HOUR; now += MINUTE) expect(care.look({ ...well, now, timeOfDay: now })).toBe(false);
    expect(care.look({ ...well, now: 100 * HOUR })).toBe(false);
  });

  it('loads it anew when it is stuck, and not again and again', () => {
    const care = new PageCare(0, 0.5);
    const dark = { ...well, live: false };
    expect(care.look({ ...dark, now: 30 * MINUTE })).toBe(false);
    expect(care.look({ ...dark, now: 32 * MINUTE })).toBe(false);
    expect(care.look({ ...dark, now: 33 * MINUTE })).toBe(true);
    const anew = new PageCare(33 * MINUTE, 0.5);
    const times = [33, 36, 40, 42.9, 43].map((m) => anew.look({ ...dark, now: m * MINUTE }));
    expect(times).toEqual([false, false, false, false, true]);
  });

  it('waits for an other side that is away, and for a server that is', () => {
    const care = new PageCare(0, 0.5);
    for (let now = HOUR; now < 3 * HOUR; now += MINUTE) {
      expect(care.look({ ...well, now, live: false, expected: false })).toBe(false);
      expect(care.look({ ...well, now, live: false, reachable: false })).toBe(false);
    }
    expect(care.look({ ...well, now: 30 * HOUR, timeOfDay: 4 * HOUR, reachable: false })).toBe(false);
  });

  it('begins each day with a fresh page, each screen at its own minute of the night', () => {
    const early = new PageCare(0, 0);
    const late = new PageCare(0, 1);
    const night = { ...well, now: 24 * HOUR, timeOfDay: 3.5 * HOUR };
    expect([early.look(night), late.look(night)]).toEqual([true, false]);
    expect(late.look({ ...night, timeOfDay: 4 * HOUR })).toBe(true);
    expect(early.look({ ...night, timeOfDay: 5 * HOUR })).toBe(false);
  });
});

describe('Freshness', () => {
  const over = (ages: (number | null)[], fps = 25) => {
    const f = new Freshness();
    return ages.map((lastFrameAge) => f.look({ lastFrameAge, fps }));
  };

  it('believes a camera until its pictures are old', () => {
    expect(over([null, 0, 4.9, 0, 5, 60])).toEqual([true, true, true, true, false, false]);
    expect(new Freshness().look(undefined)).toBe(true);
  });

  it('is not taken in by old pictures that come once more', () => {
    expect(over([6, 0.4, 2.4, 4.4, 1, 3, null, 1])).toEqual([false, false, false, false, false, false, false, false]);
  });

  it('believes pictures that keep coming', () => {
    expect(over([6, 0.1, 0.1, 3])).toEqual([false, false, true, true]);
  });

  it('gives a slow camera its time', () => {
    expect(over([20, 29, 31, 15, 5], 0.1)).toEqual([true, true, false, false, true]);
  });
});

describe('spreadOf', () => {
  it('is the same for the same name, and within bounds', () => {
    for (const name of ['', 'here', 'there', 'portal_abc234']) {
      expect(spreadOf(name)).toBe(spreadOf(name));
      expect(spreadOf(name)).toBeGreaterThanOrEqual(0);
      expect(spreadOf(name)).toBeLessThan(1);
    }
    expect(spreadOf('here')).not.toBe(spreadOf('there'));
  });
});

describe('portalId', () => {
  const storage = () => {
    const kept = new Map<string, string>();
    return { getItem: (k: string) => kept.get(k) ?? null, setItem: (k: string, v: string) => void kept.set(k, v) };
  };

  it('takes the name of the address, and refuses what is none', () => {
    expect(portalId('paris', storage())).toBe('paris');
    expect(portalId('a b', storage())).toBe('');
  });

  it('makes one up and stays with it', () => {
    const s = storage();
    const made = portalId(undefined, s);
    expect(made).toMatch(/^portal_[a-z0-9]{6}$/);
    expect(portalId(null, s)).toBe(made);
    expect(portalId('', null)).toMatch(/^portal_/);
  });
});

describe('kiosk', () => {
  const link = portalLink('https://cam.local:8443', 'paris', 'rome', 'cw_x');

  it('opens the portal with the name of this side and its token', () => {
    expect(link).toBe('https://cam.local:8443/portal/paris?me=rome&token=cw_x');
    expect(portalLink('https://h', 'paris', '', '')).toBe('https://h/portal/paris?send=0');
  });

  it('starts Chromium full screen with sound, and has no quote in it that a shell would eat', () => {
    const command = chromium(link);
    expect(command).toContain('--kiosk');
    expect(command).toContain('--autoplay-policy=no-user-gesture-required');
    expect(command).not.toContain('--use-fake-ui-for-media-stream');
    expect(command.trimEnd().endsWith(`'${link}'`)).toBe(true);
  });

  it('gives the camera to this one address', () => {
    expect(JSON.parse(policy('https://cam.local:8443'))).toMatchObject({
      AudioCaptureAllowedUrls: ['https://cam.local:8443'],
      VideoCaptureAllowedUrls: ['https://cam.local:8443'],
    });
  });

  it('makes a unit in which systemd finds no specifier', () => {
    const text = unit(portalLink('https://h', 'a', 'b', 'x%y'));
    expect(text).toContain('Restart=always');
    expect(text).toContain('token=x%%25y');
    expect(text).not.toMatch(/(^|[^%])%(%%)*[^%h]/);
  });

  it('trusts the authority by name', () => {
    expect(certutil('https://cam.local:8443')).toContain('https://cam.local:8443/api/ca.crt?format=pem');
  });
});
