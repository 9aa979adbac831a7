import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Link } from './link';
import { Publisher } from './publisher';
import type { LinkParts, PublisherOptions } from './publisher';
import { FakeDevices, FakeStream, named } from './testing';
import type { PublishReason, PublisherState, PublisherStats, PublisherStatus } from './types';

class FakeLink implements Link {
  started = false;
  stopped = false;
  isAlive = true;
  video: unknown;
  audio: unknown = undefined;
  qualities: string[] = [];
  sent: PublisherStats = { frames: 10, bytes: 1000 };

  constructor(readonly parts: LinkParts) {
    this.video = parts.video;
  }

  start() {
    this.started = true;
  }

  stop() {
    this.stopped = true;
  }

  setVideo(track: MediaStreamTrack | null) {
    this.video = track;
    return Promise.resolve();
  }

  setAudio(track: MediaStreamTrack | null) {
    this.audio = track;
    return Promise.resolve(this.parts.audio !== null || track === null);
  }

  setQuality(quality: string, resolution: number) {
    this.qualities.push(`${quality} ${resolution}`);
  }

  alive() {
    return this.isAlive;
  }

  stats() {
    return Promise.resolve(this.sent);
  }

  up() {
    if (!this.stopped) this.parts.events.up();
  }

  down(reason: PublishReason) {
    if (!this.stopped) this.parts.events.down(reason);
  }
}

describe('Publisher', () => {
  let devices: FakeDevices;
  let links: FakeLink[];
  let states: PublisherState[];
  let latest: PublisherStatus;
  let publisher: Publisher;
  let hidden: boolean;
  let locks: { released: boolean; onrelease: (() => void) | null; release: () => Promise<void> }[];

  beforeEach(() => {
    vi.useFakeTimers();
    devices = new FakeDevices();
    links = [];
    states = [];
    locks = [];
    hidden = false;
    vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
    vi.stubGlobal('isSecureContext', true);
    vi.stubGlobal('MediaStream', FakeStream);
    Object.defineProperty(navigator, 'mediaDevices', { configurable: true, value: devices });
    Object.defineProperty(navigator, 'wakeLock', {
      configurable: true,
      value: {
        request: () => {
          const lock = { released: false, onrelease: null, release: () => ((lock.released = true), Promise.resolve()) };
          locks.push(lock);
          return Promise.resolve(lock);
        },
      },
    });
  });

  afterEach(() => {
    publisher.destroy();
    expect(vi.getTimerCount()).toBe(0);
    expect(links.every((l) => l.stopped)).toBe(true);
    expect(devices.open).toEqual([]);
    expect(locks.every((l) => l.released)).toBe(true);
    Reflect.deleteProperty(navigator, 'mediaDevices');
    Reflect.deleteProperty(navigator, 'wakeLock');
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  function make(options: Partial<PublisherOptions> = {}) {
    publisher = new Publisher(
      {
        id: 'mobile_test',
        onStatus: (s) => {
          latest = s;
          if (states.at(-1) !== s.state) states.push(s.state);
        },
        ...options,
      },
      {
        link: (parts) => {
          const link = new FakeLink(parts);
          links.push(link);
          return link;
        },
        redial: { random: () => 0.5 },
      },
    );
  }

  const settle = () => vi.advanceTimersByTimeAsync(0);
  const link = () => links.at(-1) as FakeLink;

  async function live(options: Partial<PublisherOptions> = {}) {
    make(options);
    publisher.start();
    await settle();
    link().up();
    await settle();
    expect(latest.state).toBe('live');
  }

  function setHidden(now: boolean) {
    hidden = now;
    document.dispatchEvent(new Event('visibilitychange'));
  }

  it('opens the rear camera, shows it, connects and is live', async () => {
    make();
    expect(publisher.status.state).toBe('idle');
    publisher.start();
    await settle();
    expect(devices.asked).toEqual([
      { video: { facingMode: { ideal: 'environment' }, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } } },
    ]);
    expect(latest.preview?.getVideoTracks()).toHaveLength(1);
    expect(latest).toMatchObject({ state: 'starting', canSwitch: true, facing: 'environment', mic: 'off' });
    expect(link().started).toBe(true);
    expect(link().parts.target).toMatchObject({ id: 'mobile_test', takeover: false });
    link().up();
    await settle();
    expect(latest).toMatchObject({ state: 'live', awake: true });
    publisher.stop();
    expect(latest).toMatchObject({ state: 'idle', preview: null, awake: false });
    expect(states).toEqual(['starting', 'live', 'idle']);
  });

  it.each([
    ['NotAllowedError', 'denied'],
    ['NotFoundError', 'no-camera'],
    ['NotReadableError', 'camera-busy'],
    ['TypeError', 'camera'],
  ])('says what %s means, and tries no more', async (name, code) => {
    make();
    devices.fail = [named(name)];
    publisher.start();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(latest).toMatchObject({ state: 'failed', reason: { code } });
    expect(links).toHaveLength(0);
    expect(devices.asked).toHaveLength(1);
    publisher.start();
    await settle();
    expect(links).toHaveLength(1);
  });

  it('asks for no camera in a page without encryption, nor for a name that cannot be', () => {
    vi.stubGlobal('isSecureContext', false);
    make();
    publisher.start();
    expect(latest).toMatchObject({ state: 'failed', reason: { code: 'insecure' } });
    publisher.destroy();
    vi.stubGlobal('isSecureContext', true);
    make({ id: 'a b' });
    publisher.start();
    expect(latest).toMatchObject({ state: 'failed', reason: { code: 'bad-id' } });
    expect(devices.asked).toEqual([]);
  });

  it('gives back a camera that comes after the stop', async () => {
    make();
    publisher.start();
    publisher.stop();
    await settle();
    expect(devices.open).toEqual([]);
    expect(links).toHaveLength(0);
    expect(latest.state).toBe('idle');
  });

  it('waits for a server that is not there yet, with the camera open', async () => {
    make();
    publisher.start();
    await settle();
    link().down({ code: 'unreachable' });
    expect(latest).toMatchObject({ state: 'starting', reason: { code: 'unreachable' } });
    await vi.advanceTimersByTimeAsync(400);
    expect(links).toHaveLength(2);
    expect(devices.asked).toHaveLength(1);
    link().up();
    expect(states).toEqual(['starting', 'live']);
  });

  it('connects again after the server has gone, with the same camera', async () => {
    await live();
    const camera = devices.open[0];
    await vi.advanceTimersByTimeAsync(60_000);
    link().down({ code: 'ice' });
    expect(latest).toMatchObject({ state: 'reconnecting', reason: { code: 'ice' } });
    for (let i = 0; i < 5; i++) {
      await vi.advanceTimersByTimeAsync(6000);
      link().down({ code: 'unreachable' });
    }
    await vi.advanceTimersByTimeAsync(6000);
    link().up();
    expect(latest.state).toBe('live');
    expect(link().parts.video).toBe(camera);
    expect(links.filter((l) => !l.stopped)).toHaveLength(1);
  });

  it('does not wait when the network is back', async () => {
    await live();
    link().down({ code: 'ice' });
    for (let i = 0; i < 6; i++) {
      await vi.advanceTimersByTimeAsync(6000);
      link().down({ code: 'unreachable' });
    }
    const before = links.length;
    dispatchEvent(new Event('online'));
    await settle();
    expect(links).toHaveLength(before + 1);
  });

  it('leaves a connection alone that has survived another network', async () => {
    await live();
    dispatchEvent(new Event('online'));
    await settle();
    expect(links).toHaveLength(1);
  });

  it('finds out after sleep that the connection is dead, and takes the wake lock again', async () => {
    await live();
    setHidden(true);
    const lock = locks[0];
    if (lock) lock.released = true;
    lock?.onrelease?.();
    expect(latest.awake).toBe(false);
    link().isAlive = false;
    await vi.advanceTimersByTimeAsync(600_000);
    expect(links).toHaveLength(1);
    setHidden(false);
    await settle();
    expect(links).toHaveLength(2);
    expect(links[0]?.stopped).toBe(true);
    expect(locks).toHaveLength(2);
    link().up();
    expect(latest).toMatchObject({ state: 'live', awake: true });
  });

  it('opens the camera again when another app has taken it', async () => {
    await live();
    devices.fail = [named('NotReadableError')];
    devices.open[0]?.vanish();
    expect(latest).toMatchObject({ state: 'reconnecting', reason: { code: 'camera-lost' }, preview: null });
    await vi.advanceTimersByTimeAsync(400);
    expect(latest).toMatchObject({ state: 'reconnecting', reason: { code: 'camera-lost' } });
    await vi.advanceTimersByTimeAsync(5000);
    expect(links).toHaveLength(2);
    link().up();
    expect(latest.state).toBe('live');
  });

  it('takes over only when it is told to, once', async () => {
    make();
    publisher.start();
    await settle();
    link().down({ code: 'busy', detail: 'in use' });
    expect(latest).toMatchObject({ state: 'failed', reason: { code: 'busy', detail: 'in use' } });
    expect(devices.open).toEqual([]);
    publisher.takeOver();
    await settle();
    expect(link().parts.target.takeover).toBe(true);
    link().up();
    await vi.advanceTimersByTimeAsync(60_000);
    link().down({ code: 'ice' });
    await vi.advanceTimersByTimeAsync(1000);
    expect(link().parts.target.takeover).toBe(false);
  });

  it('forgets a take-over that failed', async () => {
    make();
    publisher.takeOver();
    await settle();
    link().down({ code: 'refused' });
    publisher.start();
    await settle();
    expect(link().parts.target.takeover).toBe(false);
  });

  it('always takes over where it should', async () => {
    await live({ takeover: true });
    link().down({ code: 'ice' });
    await vi.advanceTimersByTimeAsync(1000);
    expect(link().parts.target.takeover).toBe(true);
  });

  it('does not fight with another phone', async () => {
    await live();
    link().down({ code: 'closed' });
    await vi.advanceTimersByTimeAsync(400);
    link().down({ code: 'busy' });
    expect(latest).toMatchObject({ state: 'failed', reason: { code: 'busy' } });
  });

  it('waits a while for its own ghost where it cannot end it', async () => {
    await live({ settings: { mode: 'stream' } });
    await vi.advanceTimersByTimeAsync(60_000);
    link().down({ code: 'closed' });
    await vi.advanceTimersByTimeAsync(400);
    link().down({ code: 'busy' });
    expect(latest).toMatchObject({ state: 'reconnecting', reason: { code: 'busy' } });
    for (let i = 0; i < 10 && latest.state === 'reconnecting'; i++) {
      await vi.advanceTimersByTimeAsync(6000);
      link().down({ code: 'busy' });
    }
    expect(latest).toMatchObject({ state: 'failed', reason: { code: 'busy' } });
    expect(links.every((l) => !l.parts.target.takeover)).toBe(true);
  });

  it('turns to the other camera without a new connection', async () => {
    await live();
    const rear = devices.open[0];
    publisher.switchCamera();
    await settle();
    expect(rear?.readyState).toBe('ended');
    expect(latest).toMatchObject({ state: 'live', facing: 'user' });
    expect(link().video).toBe(devices.open[0]);
    expect(links).toHaveLength(1);
    publisher.switchCamera();
    await settle();
    expect(latest.facing).toBe('environment');
    expect(devices.open).toHaveLength(1);
  });

  it('goes back to the camera that works when the other one does not', async () => {
    await live();
    devices.fail = [named('NotReadableError')];
    publisher.switchCamera();
    await settle();
    expect(latest).toMatchObject({ state: 'live', facing: 'environment' });
    expect(link().video).toBe(devices.open[0]);
    expect(publisher.settings.facing).toBe('environment');
  });

  it('does not run in circles when neither camera can be had', async () => {
    await live();
    devices.fail = Array.from({ length: 50 }, () => named('NotReadableError'));
    publisher.switchCamera();
    await settle();
    expect(latest).toMatchObject({ state: 'reconnecting', reason: { code: 'camera-lost' } });
    expect(devices.asked.length).toBeLessThan(5);
    devices.fail = [];
    await vi.advanceTimersByTimeAsync(6000);
    link().up();
    expect(latest.state).toBe('live');
  });

  it('turns while the first connection is still being made', async () => {
    make();
    publisher.start();
    publisher.switchCamera();
    await settle();
    expect(devices.open).toHaveLength(1);
    expect(links.filter((l) => !l.stopped)).toHaveLength(1);
    link().up();
    expect(latest).toMatchObject({ state: 'live', facing: 'user' });
  });

  it('changes size and quality while live', async () => {
    await live();
    publisher.set({ quality: 'high' });
    expect(link().qualities).toEqual(['high 1280']);
    publisher.set({ resolution: 640 });
    await settle();
    expect(devices.asked.at(-1)?.video).toMatchObject({ width: { ideal: 640 }, height: { ideal: 360 } });
    expect(link().qualities.at(-1)).toBe('high 640');
    expect(links).toHaveLength(1);
  });

  it('changes the mode with a new link and another pace of the camera', async () => {
    await live();
    publisher.set({ mode: 'stream' });
    await settle();
    expect(links).toHaveLength(2);
    expect(link().parts.settings.mode).toBe('stream');
    expect(devices.asked.at(-1)?.video).toMatchObject({ frameRate: { ideal: 15 } });
    expect(latest).toMatchObject({ state: 'reconnecting', mode: 'stream' });
    // The mode has not been forgotten when another wish follows at once.
    publisher.set({ mode: 'live' });
    publisher.switchCamera();
    await settle();
    expect(link().parts.settings.mode).toBe('live');
    expect(links.filter((l) => !l.stopped)).toHaveLength(1);
  });

  it('offers sound on request, mutes it, and gives it back', async () => {
    await live();
    publisher.set({ mic: true });
    await settle();
    // It was not in the first offer: a second one is made.
    expect(links).toHaveLength(2);
    expect(link().parts.audio).not.toBeNull();
    link().up();
    expect(latest.mic).toBe('on');
    publisher.mute(true);
    expect(latest.mic).toBe('muted');
    expect(devices.open.find((t) => t.kind === 'audio')?.enabled).toBe(false);
    publisher.mute(false);
    publisher.set({ mic: false });
    await settle();
    expect(link().audio).toBeNull();
    expect(latest.mic).toBe('off');
    expect(devices.open.map((t) => t.kind)).toEqual(['video']);
    expect(links).toHaveLength(2);
  });

  it('sends pictures without sound when the microphone is not allowed', async () => {
    make({ settings: { mic: true } });
    publisher.start();
    devices.fail = [];
    const ask = devices.getUserMedia.bind(devices);
    vi.spyOn(devices, 'getUserMedia').mockImplementation((c) => (c.audio ? Promise.reject(named('NotAllowedError')) : ask(c)));
    await settle();
    link().up();
    expect(latest).toMatchObject({ state: 'live', mic: 'denied' });
  });

  it('counts what all its links have sent', async () => {
    const onStats = vi.fn<(s: PublisherStats) => void>();
    await live({ onStats });
    await vi.advanceTimersByTimeAsync(1000);
    expect(onStats.mock.lastCall?.[0]).toMatchObject({ frames: 10, bytes: 1000 });
    link().down({ code: 'ice' });
    await vi.advanceTimersByTimeAsync(500);
    link().up();
    link().sent = { frames: 5, bytes: 50 };
    await vi.advanceTimersByTimeAsync(1000);
    expect(onStats.mock.lastCall?.[0]).toMatchObject({ frames: 15, bytes: 1050 });
  });

  it('lets go when the page goes, and is back with it', async () => {
    await live();
    dispatchEvent(new Event('pagehide'));
    expect(link().stopped).toBe(true);
    const back = new Event('pageshow');
    Object.defineProperty(back, 'persisted', { value: true });
    dispatchEvent(back);
    await settle();
    expect(links).toHaveLength(2);
  });

  it('offers light and zoom where the camera has them', async () => {
    await live();
    expect(latest).toMatchObject({ torch: null, zoom: null });
    const track = devices.open[0];
    if (track) track.capabilities = { torch: true, zoom: { min: 1, max: 8, step: 0.1 } };
    publisher.setTorch(true);
    await settle();
    expect(latest).toMatchObject({ torch: true, zoom: { min: 1, max: 8, step: 0.1, value: 1 } });
    publisher.setZoom(2);
    await settle();
    expect(track?.applied).toEqual([{ advanced: [{ torch: true }] }, { advanced: [{ zoom: 2 }] }]);
  });

  it('hears nothing after destroy', async () => {
    await live();
    const old = link();
    publisher.destroy();
    old.parts.events.down({ code: 'ice' });
    publisher.start();
    dispatchEvent(new Event('online'));
    await settle();
    expect(links).toHaveLength(1);
  });
});
