import { describe, expect, it } from 'vitest';
import { Redial } from './redial';

const make = () => new Redial({ first: 400, longest: 5000, settled: 10_000, random: () => 0.5 });

describe('Redial', () => {
  it('waits longer each time, and not for ever', () => {
    const redial = make();
    expect(redial.start()).toBe(true);
    const pauses: number[] = [];
    let now = 0;
    for (let i = 0; i < 7; i++) {
      redial.down({ code: 'unreachable' }, now);
      pauses.push(redial.nextAt - now);
      expect(redial.tick(redial.nextAt - 1)).toBe(false);
      now = redial.nextAt;
      expect(redial.tick(now)).toBe(true);
      expect(redial.phase).toBe('dialing');
    }
    expect(pauses).toEqual([400, 800, 1600, 3200, 5000, 5000, 5000]);
  });

  it('begins anew with short pauses after a connection that held', () => {
    const redial = make();
    redial.start();
    for (let i = 0; i < 4; i++) {
      redial.down({ code: 'ice' }, 0);
      redial.nudge();
      redial.down({ code: 'ice' }, 0);
      redial.tick(Infinity);
    }
    redial.up(1000);
    expect(redial.reason).toBeNull();
    redial.down({ code: 'closed' }, 11_000);
    expect(redial.nextAt).toBe(11_400);
    expect(redial.reason).toEqual({ code: 'closed' });
  });

  it('does not take a connection that broke at once for a good one', () => {
    const redial = make();
    redial.start();
    redial.down({ code: 'ice' }, 0);
    redial.tick(400);
    redial.up(500);
    redial.down({ code: 'ice' }, 600);
    expect(redial.nextAt).toBe(1400);
  });

  it('gives up where no second try will help, unless told that it may', () => {
    const redial = make();
    redial.start();
    redial.down({ code: 'busy' }, 0, false);
    expect(redial.phase).toBe('waiting');
    redial.nudge();
    redial.down({ code: 'busy' }, 1);
    expect(redial.phase).toBe('failed');
    expect(redial.nextAt).toBe(Infinity);
    expect(redial.nudge()).toBe(false);
    redial.down({ code: 'ice' }, 2);
    expect(redial.reason).toEqual({ code: 'busy' });
    expect(redial.start()).toBe(true);
  });

  it('hears nothing while it is off', () => {
    const redial = make();
    redial.down({ code: 'ice' }, 0);
    redial.up(0);
    expect([redial.phase, redial.nudge(), redial.tick(1e9)]).toEqual(['off', false, false]);
    redial.start();
    redial.stop();
    redial.up(0);
    expect(redial.phase).toBe('off');
  });
});
