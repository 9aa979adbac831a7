/** Stand-ins for the browser's camera and connections; for tests alone. */

export class FakeTrack extends EventTarget {
  readyState: 'live' | 'ended' = 'live';
  enabled = true;
  contentHint = '';
  onended: (() => void) | null = null;
  applied: unknown[] = [];
  capabilities: object = {};

  constructor(
    readonly kind: 'video' | 'audio',
    readonly settings: MediaTrackSettings = {},
  ) {
    super();
  }

  getSettings(): MediaTrackSettings {
    return this.settings;
  }

  getCapabilities(): object {
    return this.capabilities;
  }

  applyConstraints(c: unknown): Promise<void> {
    this.applied.push(c);
    return Promise.resolve();
  }

  stop(): void {
    this.readyState = 'ended';
  }

  /** The device has gone by itself. */
  vanish(): void {
    this.readyState = 'ended';
    this.onended?.();
  }
}

export class FakeStream {
  constructor(readonly tracks: FakeTrack[] = []) {}

  getVideoTracks(): FakeTrack[] {
    return this.tracks.filter((t) => t.kind === 'video');
  }

  getAudioTracks(): FakeTrack[] {
    return this.tracks.filter((t) => t.kind === 'audio');
  }
}

/** The cameras and the microphone of a phone. */
export class FakeDevices {
  asked: MediaStreamConstraints[] = [];
  tracks: FakeTrack[] = [];
  /** What the next requests end with, instead of a track. */
  fail: Error[] = [];
  cameras = 2;

  /** All tracks that nobody has stopped. */
  get open(): FakeTrack[] {
    return this.tracks.filter((t) => t.readyState === 'live');
  }

  getUserMedia(c: MediaStreamConstraints): Promise<FakeStream> {
    this.asked.push(c);
    const error = this.fail.shift();
    if (error) return Promise.reject(error);
    const wish = (c.video as MediaTrackConstraints | undefined)?.facingMode as { ideal?: string } | undefined;
    const track = c.audio
      ? new FakeTrack('audio')
      : new FakeTrack('video', { facingMode: wish?.ideal ?? 'environment', deviceId: wish?.ideal ?? 'x' });
    this.tracks.push(track);
    return Promise.resolve(new FakeStream([track]));
  }

  enumerateDevices(): Promise<{ kind: string; deviceId: string }[]> {
    const list = Array.from({ length: this.cameras }, (_, i) => ({ kind: 'videoinput', deviceId: String(i) }));
    return Promise.resolve([...list, { kind: 'audioinput', deviceId: 'm' }]);
  }
}

/** An error as the browser throws it. */
export function named(name: string): Error {
  const error = new Error(name + ' was thrown');
  error.name = name;
  return error;
}
