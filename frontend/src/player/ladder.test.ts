import { beforeEach, describe, expect, it } from 'vitest';
import { Ladder } from './ladder';
import type { Action, LadderSettings } from './ladder';
import type { Reason, RungName } from './types';

/** How the rungs are called does not matter to the ladder; three show all that it does. */
const RUNGS: readonly RungName[] = ['webrtc', 'mjpeg', 'stills'];

const ICE: Reason = { code: 'ice' };
const GONE: Reason = { code: 'unreachable' };
const CLOSED: Reason = { code: 'signaling' };

/** random 0 makes every pause the longest it can be, and healthy retries immediate. */
function make(top: RungName = 'webrtc', settings: Partial<LadderSettings> = {}): Ladder {
  return new Ladder(RUNGS, top, { random: () => 0, ...settings });
}

function text(actions: Action[]): string {
  return actions.map((a) => `${a.do} ${a.rung}`).join(', ');
}

describe('Ladder', () => {
  let ladder: Ladder;
  beforeEach(() => {
    ladder = make();
  });

  it('begins with the best rung and has nothing to explain when that works', () => {
    expect(text(ladder.start(0))).toBe('open webrtc');
    expect(ladder.shown).toBeNull();
    expect(text(ladder.picture('webrtc', 80))).toBe('');
    expect(ladder.shown).toBe('webrtc');
    expect(ladder.why).toBeUndefined();
    expect(ladder.nextAt).toBe(Infinity);
  });

  it('goes down at once when a rung fails, and says why', () => {
    ladder.start(0);
    expect(text(ladder.down('webrtc', ICE, 100))).toBe('close webrtc, open mjpeg');
    ladder.picture('mjpeg', 200);
    expect(ladder.shown).toBe('mjpeg');
    expect(ladder.why).toEqual(ICE);
    expect(text(ladder.down('mjpeg', { code: 'decode' }, 300))).toBe('close mjpeg, open stills');
  });

  it('opens company for a slow rung, and closes it when the slow one delivers', () => {
    ladder.start(0);
    expect(ladder.nextAt).toBe(2500);
    expect(text(ladder.tick(2499))).toBe('');
    expect(text(ladder.tick(2500))).toBe('open mjpeg');
    ladder.picture('mjpeg', 2600);
    expect(ladder.why).toEqual({ code: 'slow' });
    expect(text(ladder.picture('webrtc', 2700))).toBe('close mjpeg');
    expect(ladder.shown).toBe('webrtc');
  });

  it('gives up on a rung that never shows anything', () => {
    ladder.start(0);
    ladder.tick(2500);
    ladder.picture('mjpeg', 2600);
    expect(text(ladder.tick(10_000))).toBe('close webrtc');
    expect(ladder.why).toEqual({ code: 'no-picture' });
  });

  it('climbs back with pauses from 1 s to 30 s, beside the rung on the screen', () => {
    ladder.start(0);
    ladder.down('webrtc', ICE, 0);
    ladder.picture('mjpeg', 0);
    const pauses: number[] = [];
    let now = 0;
    for (let i = 0; i < 8; i++) {
      const at = ladder.nextAt;
      pauses.push(at - now);
      now = at;
      expect(text(ladder.tick(now))).toBe('open webrtc');
      expect(ladder.shown).toBe('mjpeg');
      expect(text(ladder.down('webrtc', ICE, now))).toBe('close webrtc');
    }
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    now = ladder.nextAt;
    ladder.tick(now);
    expect(text(ladder.picture('webrtc', now))).toBe('close mjpeg');
  });

  it('never waits longer than the pause, with jitter only shortening it', () => {
    for (const random of [0, 0.3, 0.999]) {
      const jittered = make('webrtc', { random: () => random });
      jittered.start(0);
      jittered.down('webrtc', ICE, 0);
      jittered.picture('mjpeg', 0);
      const pause = jittered.nextAt;
      expect(pause).toBeGreaterThanOrEqual(500);
      expect(pause).toBeLessThanOrEqual(1000);
    }
  });

  it('tries at once on a nudge', () => {
    ladder.start(0);
    ladder.down('webrtc', ICE, 0);
    ladder.picture('mjpeg', 0);
    expect(text(ladder.nudge(10))).toBe('open webrtc');
  });

  it('begins a hanging try anew on a nudge, but leaves a fresh one alone', () => {
    ladder.start(0);
    expect(text(ladder.nudge(500))).toBe('');
    expect(text(ladder.nudge(1500))).toBe('close webrtc, open webrtc');
  });

  it('retries a rung that had been healthy before it looks lower', () => {
    ladder = make('webrtc', { random: () => 1 });
    ladder.start(0);
    ladder.picture('webrtc', 100);
    expect(text(ladder.down('webrtc', CLOSED, 60_000))).toBe('close webrtc');
    expect(ladder.nextAt).toBe(60_250);
    expect(text(ladder.tick(60_250))).toBe('open webrtc');
    expect(text(ladder.down('webrtc', CLOSED, 60_260))).toBe('close webrtc, open mjpeg');
  });

  it('does not flap: a rung that keeps dying young is tried ever more rarely', () => {
    ladder.start(0);
    ladder.picture('webrtc', 0);
    ladder.down('webrtc', ICE, 3000);
    ladder.picture('mjpeg', 3000);
    ladder.tick(4000);
    ladder.picture('webrtc', 4000);
    ladder.down('webrtc', ICE, 7000);
    ladder.picture('mjpeg', 7000);
    expect(ladder.nextAt).toBe(9000);
  });

  it('asks a dead server by few requests and with short pauses', () => {
    ladder.start(0);
    let now = 0;
    let opens = 1;
    for (let i = 0; i < 200 && now < 60_000; i++) {
      for (const rung of RUNGS) {
        const actions = ladder.down(rung, rung === 'webrtc' ? CLOSED : GONE, now);
        opens += actions.filter((a) => a.do === 'open').length;
      }
      now = ladder.nextAt;
      opens += ladder.tick(now).filter((a) => a.do === 'open').length;
    }
    expect(now).toBeGreaterThanOrEqual(60_000);
    expect(opens).toBeGreaterThan(10);
    // Two requests per pause of two seconds.
    expect(opens).toBeLessThan(70);
    expect(ladder.reason).toEqual(GONE);
  });

  it('climbs at once when the server is back, whichever rung notices first', () => {
    ladder.start(0);
    let now = 0;
    for (let i = 0; i < 20; i++) {
      ladder.down('webrtc', CLOSED, now);
      ladder.down('mjpeg', GONE, now);
      now = ladder.nextAt;
      ladder.tick(now);
    }
    // The server is back between two tries, and MJPEG is the next one.
    let opened = '';
    for (let i = 0; i < 9 && !opened.includes('open mjpeg'); i++) {
      opened = text(ladder.down('webrtc', CLOSED, now));
      if (opened.includes('open mjpeg')) break;
      now = ladder.nextAt;
      opened = text(ladder.tick(now));
    }
    expect(opened).toContain('open mjpeg');
    expect(text(ladder.picture('mjpeg', now + 100))).toBe('open webrtc');
    ladder.down('webrtc', CLOSED, now + 200);
    expect(ladder.nextAt).toBe(now + 1200);
  });

  it('waits for a dark camera without trying other rungs', () => {
    ladder.start(0);
    ladder.held('webrtc', true, 50);
    expect(ladder.nextAt).toBe(Infinity);
    expect(text(ladder.tick(3_600_000))).toBe('');
    ladder.held('webrtc', false, 3_600_000);
    expect(ladder.nextAt).toBe(3_602_500);
  });

  it('closes everything when the server says that no rung will do, and asks again later', () => {
    ladder.start(0);
    ladder.tick(2500);
    const actions = ladder.down('webrtc', { code: 'unknown-camera' }, 2600);
    expect(text(actions)).toBe('close webrtc, close mjpeg');
    expect(ladder.final).toEqual({ code: 'unknown-camera' });
    expect(ladder.nextAt).toBe(32_600);
    expect(text(ladder.tick(32_600))).toContain('open');
    expect(ladder.final).toBeUndefined();
  });

  it('keeps to the rung that was asked for, and climbs when asked for more', () => {
    ladder = make('stills');
    expect(text(ladder.start(0))).toBe('open stills');
    ladder.picture('stills', 100);
    expect(ladder.why).toEqual({ code: 'asked' });
    expect(text(ladder.setTop('webrtc', 200))).toBe('open webrtc, open mjpeg');
    expect(text(ladder.picture('webrtc', 300))).toBe('close mjpeg, close stills');
    expect(text(ladder.setTop('stills', 400))).toBe('close webrtc, open stills');
  });

  it('closes all on stop and begins afresh on start', () => {
    ladder.start(0);
    ladder.down('webrtc', ICE, 0);
    expect(text(ladder.stop(10))).toBe('close mjpeg');
    expect(ladder.nextAt).toBe(Infinity);
    expect(ladder.reason).toBeUndefined();
    expect(text(ladder.start(20))).toBe('open webrtc');
  });

  it('always has something to do or to wait for, whatever happens', () => {
    let seed = 7;
    const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
    const open = new Set<RungName>();
    ladder = make('webrtc', { random });
    const run = (actions: Action[]) => {
      for (const a of actions) {
        expect(open.has(a.rung)).toBe(a.do === 'close');
        if (a.do === 'open') open.add(a.rung);
        else open.delete(a.rung);
      }
    };
    let now = 0;
    run(ladder.start(now));
    for (let i = 0; i < 20_000; i++) {
      now += Math.floor(random() * 4000);
      const rung = RUNGS[Math.floor(random() * 3)] ?? 'webrtc';
      const dice = random();
      if (dice < 0.3) run(ladder.picture(rung, now));
      else if (dice < 0.6) run(ladder.down(rung, [ICE, GONE, CLOSED, { code: 'unauthorized' } as Reason][i % 4] ?? ICE, now));
      else if (dice < 0.65) run(ladder.held(rung, random() < 0.3, now));
      else if (dice < 0.7) run(ladder.nudge(now));
      else if (dice < 0.75) run(ladder.setTop(rung, now));
      else run(ladder.tick(now));
      const shown = ladder.shown;
      if (shown !== null) expect(open.has(shown)).toBe(true);
      if (open.size === 0) expect(ladder.nextAt).toBeLessThan(Infinity);
    }
  });
});
