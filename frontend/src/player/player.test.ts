import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Player } from './player';
import type { PlayerOptions } from './player';
import type { Rung, RungContext } from './rung';
import type { PlayerStatus, Reason, RungName } from './types';

const RUNGS: readonly RungName[] = ['webrtc', 'mjpeg', 'stills'];

class FakeRung implements Rung {
  readonly surface = document.createElement('canvas');
  started = false;
  stopped = false;
  muted = true;

  constructor(
    readonly name: RungName,
    readonly ctx: RungContext,
  ) {
    this.surface.width = 4;
    this.surface.height = 3;
  }

  start() {
    this.started = true;
  }

  stop() {
    this.stopped = true;
  }

  stats() {
    return Promise.resolve({ delay: 7 });
  }

  setMuted(muted: boolean) {
    this.muted = muted;
  }

  picture() {
    if (!this.stopped) this.ctx.events.picture();
  }

  down(reason: Reason) {
    if (!this.stopped) this.ctx.events.down(reason);
  }
}

describe('Player', () => {
  let element: HTMLElement;
  let rungs: FakeRung[];
  let hidden = false;
  let player: Player;
  let seen: PlayerStatus[];

  beforeEach(() => {
    vi.useFakeTimers();
    vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
    hidden = false;
    element = document.createElement('div');
    rungs = [];
    seen = [];
  });

  afterEach(() => {
    player.destroy();
    expect(vi.getTimerCount()).toBe(0);
    expect(rungs.every((r) => r.stopped)).toBe(true);
    expect(element.childElementCount).toBe(0);
    vi.useRealTimers();
  });

  function make(options: Partial<PlayerOptions> = {}) {
    player = new Player(
      { element, camera: 'door', rungs: RUNGS, onState: (s) => seen.push(s), ...options },
      {
        rung: (name, ctx) => {
          const rung = new FakeRung(name, ctx);
          rungs.push(rung);
          return rung;
        },
        ladder: { random: () => 0.5 },
      },
    );
  }

  /** The open rung of this name. */
  function open(name: RungName): FakeRung {
    const rung = rungs.find((r) => r.name === name && !r.stopped);
    if (!rung) throw new Error(`${name} is not open`);
    return rung;
  }

  const isOpen = (name: RungName) => rungs.some((r) => r.name === name && !r.stopped);

  /** Lets the rung deliver 25 pictures a second for so many ms. */
  function play(name: RungName, ms: number) {
    const rung = open(name);
    for (let t = 0; t < ms; t += 40) {
      rung.picture();
      vi.advanceTimersByTime(40);
    }
  }

  function setHidden(value: boolean) {
    hidden = value;
    document.dispatchEvent(new Event('visibilitychange'));
  }

  it('starts with WebRTC and tells it on the element', () => {
    make();
    expect(element.dataset).toMatchObject({ camera: 'door', state: 'connecting' });
    expect(element.getAttribute('data-rung')).toBe('');
    open('webrtc').picture();
    expect(element.dataset).toMatchObject({ state: 'live', rung: 'webrtc' });
    expect(player.status).toEqual({ state: 'live', rung: 'webrtc' });
    expect(open('webrtc').surface.dataset).toHaveProperty('shown');
  });

  it('falls back, says why, and climbs without losing the picture', () => {
    make();
    open('webrtc').down({ code: 'ice' });
    open('mjpeg').picture();
    expect(player.status).toEqual({ state: 'live', rung: 'mjpeg', why: { code: 'ice' } });
    vi.advanceTimersByTime(1000);
    open('mjpeg').picture();
    const trial = open('webrtc');
    expect(player.status.rung).toBe('mjpeg');
    trial.picture();
    expect(player.status).toEqual({ state: 'live', rung: 'webrtc' });
    expect(isOpen('mjpeg')).toBe(false);
    expect(element.childElementCount).toBe(1);
  });

  it('comes back within a second after the server has been restarted', () => {
    make();
    play('webrtc', 20_000);
    open('webrtc').down({ code: 'signaling' });
    expect(player.status).toMatchObject({ state: 'lost', reason: { code: 'signaling' }, rung: null });
    expect(element.querySelector('canvas[data-shown]')).not.toBeNull();
    for (let i = 0; i < 20; i++) {
      vi.advanceTimersByTime(500);
      if (isOpen('webrtc')) open('webrtc').down({ code: 'signaling' });
      if (isOpen('mjpeg')) open('mjpeg').down({ code: 'unreachable' });
    }
    expect(player.status).toMatchObject({ state: 'lost', reason: { code: 'unreachable' } });
    vi.advanceTimersByTime(5000);
    open('webrtc').picture();
    expect(player.status).toEqual({ state: 'live', rung: 'webrtc' });
    expect(element.childElementCount).toBe(1);
  });

  it('retries a healthy rung within 250 ms', () => {
    make();
    play('webrtc', 20_000);
    open('webrtc').down({ code: 'signaling' });
    expect(isOpen('webrtc')).toBe(false);
    vi.advanceTimersByTime(250);
    expect(isOpen('webrtc')).toBe(true);
  });

  it('restarts a frozen WebRTC after three seconds', () => {
    make();
    play('webrtc', 20_000);
    const frozen = open('webrtc');
    vi.advanceTimersByTime(2900);
    expect(player.status.state).toBe('live');
    vi.advanceTimersByTime(100);
    expect(frozen.stopped).toBe(true);
    expect(player.status).toMatchObject({ state: 'stalled', reason: { code: 'frozen' } });
    vi.advanceTimersByTime(250);
    open('webrtc').picture();
    expect(player.status.state).toBe('live');
  });

  it('does not restart when it is the camera that has stopped', () => {
    make();
    play('webrtc', 20_000);
    const rung = open('webrtc');
    rung.ctx.events.source('lost', 'unplugged');
    vi.advanceTimersByTime(60_000);
    expect(rung.stopped).toBe(false);
    expect(player.status).toMatchObject({ state: 'lost', reason: { code: 'camera', detail: 'unplugged' } });
    rung.ctx.events.source('live');
    vi.advanceTimersByTime(2000);
    expect(rung.stopped).toBe(false);
    rung.picture();
    expect(player.status).toEqual({ state: 'live', rung: 'webrtc' });
  });

  it('waits for a camera that is still connecting, on one rung', () => {
    make();
    open('webrtc').ctx.events.source('connecting');
    vi.advanceTimersByTime(60_000);
    expect(rungs).toHaveLength(1);
    expect(player.status).toMatchObject({ state: 'connecting', reason: { code: 'camera' } });
    open('webrtc').ctx.events.source('failed', 'wrong password');
    expect(player.status).toMatchObject({ state: 'failed', reason: { code: 'camera', detail: 'wrong password' } });
  });

  it('marks a standing MJPEG picture as stalled, and by the list as lost', () => {
    make({ rungs: ['mjpeg', 'stills'] });
    play('mjpeg', 4000);
    vi.advanceTimersByTime(3100);
    expect(player.status).toMatchObject({ state: 'stalled', rung: 'mjpeg' });
    player.setSource('lost', 'no route to host');
    expect(player.status).toMatchObject({ state: 'lost', reason: { code: 'camera', detail: 'no route to host' } });
    expect(isOpen('mjpeg')).toBe(true);
  });

  it('stops asking when the server knows no such camera, and asks again when told to', () => {
    make();
    open('webrtc').down({ code: 'unknown-camera', detail: 'no camera "door"' });
    expect(player.status).toMatchObject({ state: 'failed', reason: { code: 'unknown-camera' } });
    vi.advanceTimersByTime(29_000);
    expect(rungs).toHaveLength(1);
    player.retry();
    expect(isOpen('webrtc')).toBe(true);
  });

  it('retries at once when the list says that the camera is back', () => {
    make({ rungs: ['stills'] });
    player.setSource('lost');
    open('stills').down({ code: 'refused' });
    expect(isOpen('stills')).toBe(false);
    player.setSource('live');
    expect(isOpen('stills')).toBe(true);
  });

  it('retries at once when the network is back', () => {
    make();
    open('webrtc').down({ code: 'signaling' });
    open('mjpeg').down({ code: 'unreachable' });
    expect(rungs.every((r) => r.stopped)).toBe(true);
    dispatchEvent(new Event('online'));
    expect(isOpen('webrtc')).toBe(true);
  });

  it('rests in a hidden page and is back at once', () => {
    make();
    play('webrtc', 1000);
    setHidden(true);
    vi.advanceTimersByTime(29_999);
    expect(isOpen('webrtc')).toBe(true);
    vi.advanceTimersByTime(1);
    expect(isOpen('webrtc')).toBe(false);
    vi.advanceTimersByTime(3_600_000);
    expect(rungs).toHaveLength(1);
    setHidden(false);
    expect(isOpen('webrtc')).toBe(true);
    expect(player.status.state).toBe('connecting');
    expect(element.querySelector('canvas[data-shown]')).not.toBeNull();
  });

  it('does not take a hidden page for a stall', () => {
    make();
    play('webrtc', 1000);
    setHidden(true);
    vi.advanceTimersByTime(20_000);
    setHidden(false);
    vi.advanceTimersByTime(2900);
    expect(isOpen('webrtc')).toBe(true);
    expect(rungs).toHaveLength(1);
    vi.advanceTimersByTime(1000);
    expect(rungs).toHaveLength(2);
  });

  it('starts nothing in a page that opens in the background', () => {
    hidden = true;
    make();
    expect(rungs).toHaveLength(0);
    setHidden(false);
    expect(isOpen('webrtc')).toBe(true);
  });

  it('keeps its promise of a wake-up when told things in between', () => {
    make();
    open('webrtc').down({ code: 'signaling' });
    open('mjpeg').down({ code: 'unreachable' });
    for (let i = 0; i < 100 && !isOpen('webrtc'); i++) {
      vi.advanceTimersByTime(37);
      player.setSource('live');
    }
    expect(isOpen('webrtc')).toBe(true);
  });

  it('changes the wanted rung while it plays', () => {
    make({ prefer: 'stills' });
    open('stills').picture();
    expect(player.status).toMatchObject({ rung: 'stills', why: { code: 'asked' } });
    player.prefer('webrtc');
    open('webrtc').picture();
    expect(player.status).toEqual({ state: 'live', rung: 'webrtc' });
    player.prefer('stills');
    expect(isOpen('webrtc')).toBe(false);
    open('stills').picture();
    expect(player.status).toMatchObject({ state: 'live', rung: 'stills' });
  });

  it('tells statistics once a second, of the rung on the screen only', async () => {
    const onStats = vi.fn();
    make({ onStats });
    await vi.advanceTimersByTimeAsync(3000);
    expect(onStats).not.toHaveBeenCalled();
    open('mjpeg').picture();
    await vi.advanceTimersByTimeAsync(2000);
    expect(onStats.mock.calls).toEqual([[{ delay: 7 }], [{ delay: 7 }]]);
  });

  it('tells a state only when it changes', () => {
    make();
    play('webrtc', 10_000);
    expect(seen).toEqual([{ state: 'live', rung: 'webrtc' }]);
  });

  it('lets only what is on the screen be heard', () => {
    const onSilenced = vi.fn();
    make({ rungs: ['webrtc', 'mse'], onSilenced });
    open('webrtc').down({ code: 'ice' });
    open('mse').picture();
    expect(open('mse').muted).toBe(true);
    player.setMuted(false);
    expect(open('mse').muted).toBe(false);
    vi.advanceTimersByTime(2000);
    expect(open('webrtc').muted).toBe(true); // it is only tried
    open('webrtc').picture();
    expect(open('webrtc').muted).toBe(false);
    open('webrtc').ctx.events.silenced?.();
    expect(onSilenced).toHaveBeenCalledOnce();
    expect(player.muted).toBe(true);
  });

  it('starts video anew that has stopped moving, whichever way it comes', () => {
    make({ rungs: ['mse'] });
    play('mse', 2000);
    const before = open('mse');
    vi.advanceTimersByTime(10_000);
    expect(before.stopped).toBe(true);
    expect(open('mse')).not.toBe(before);
  });

  it('ignores everything after destroy', () => {
    make();
    const rung = open('webrtc');
    player.destroy();
    rung.ctx.events.picture();
    rung.ctx.events.down({ code: 'ice' });
    player.retry();
    player.setSource('live');
    dispatchEvent(new Event('online'));
    expect(rungs).toHaveLength(1);
    expect(element.dataset['state']).toBeUndefined();
  });
});
