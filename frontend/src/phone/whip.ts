import { Meter } from '../player/clock';
import { bitrate, refused, words } from './link';
import type { Link, LinkEvents, LinkTarget } from './link';
import { because } from './types';
import type { PublishReason, PublisherStats, Quality } from './types';

/** Host candidates are there at once; an offer with all of them needs no trickle (ms). */
const GATHER_LIMIT = 500;
/** An answer takes no longer than this, or it does not come (ms). */
const ANSWER_LIMIT = 10_000;
/** ICE and DTLS take no longer than this, or they do not come through (ms). */
const CONNECT_LIMIT = 15_000;
/** ICE often recovers from a short disconnection by itself (ms). */
const DISCONNECTED_LIMIT = 2500;
/** A session of ours that may still be held is let go before a new one; not for ever (ms). */
const RELEASE_LIMIT = 3000;

export interface WhipOptions {
  readonly video: MediaStreamTrack;
  readonly audio: MediaStreamTrack | null;
  readonly quality: Quality;
  readonly resolution: number;
  readonly simulcast: boolean;
  /**
   * The addresses of sessions of ours that the server may still hold, each with
   * the request that is ending it now. The link adds its own, and takes out
   * those of which it knows that they have ended.
   */
  readonly sessions: Map<string, Promise<void> | null>;
}

/**
 * Publishes by WebRTC, signaled by WHIP (RFC 9725): one POST with the offer,
 * one DELETE at the end.
 */
export class WhipLink implements Link {
  readonly #target: LinkTarget;
  readonly #options: WhipOptions;
  readonly #events: LinkEvents;
  readonly #abort = new AbortController();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #frames = new Meter();
  readonly #bytes = new Meter();
  #peer: RTCPeerConnection | null = null;
  #video: RTCRtpSender | null = null;
  #audio: RTCRtpSender | null = null;
  #session: string | null = null;
  #stopped = false;
  #finished = false;
  #up = false;
  #disconnected: ReturnType<typeof setTimeout> | null = null;
  #quality: Quality;
  #resolution: number;
  #framesSeen = 0;
  #bytesSeen = 0;

  constructor(target: LinkTarget, options: WhipOptions, events: LinkEvents) {
    this.#target = target;
    this.#options = options;
    this.#events = events;
    this.#quality = options.quality;
    this.#resolution = options.resolution;
  }

  start(): void {
    if (typeof RTCPeerConnection === 'undefined') {
      this.#later(() => this.#down(because('unsupported')), 0);
      return;
    }
    void this.#run().catch((err: unknown) => this.#down(because('broken', words(err))));
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#abort.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#closePeer();
    const session = this.#session;
    this.#session = null;
    // Also from a page that is being closed. If it does not arrive, the next link says it again.
    if (session) void end(session, this.#options.sessions, { keepalive: true });
  }

  async setVideo(track: MediaStreamTrack | null): Promise<void> {
    await this.#video?.replaceTrack(track);
  }

  async setAudio(track: MediaStreamTrack | null): Promise<boolean> {
    if (!this.#audio) return track === null;
    await this.#audio.replaceTrack(track);
    return true;
  }

  setQuality(quality: Quality, resolution: number): void {
    this.#quality = quality;
    this.#resolution = resolution;
    const sender = this.#video;
    if (!sender || this.#stopped) return;
    const parameters = sender.getParameters();
    // Before the first negotiation there are none to change.
    if (!parameters.encodings?.length) return;
    const wanted = this.#encodings(parameters.encodings.length > 1);
    parameters.encodings.forEach((encoding, i) => {
      const max = wanted[i]?.maxBitrate;
      if (max !== undefined) encoding.maxBitrate = max;
    });
    // A browser that refuses sends as much as before, which is no reason to stop.
    sender.setParameters(parameters).catch(() => undefined);
  }

  alive(): boolean {
    return this.#peer?.connectionState === 'connected';
  }

  async stats(): Promise<PublisherStats> {
    const stats: PublisherStats = { frames: 0, bytes: 0 };
    const report = await this.#peer?.getStats();
    if (!report || this.#stopped) return stats;
    let pair: RTCIceCandidatePairStats | undefined;
    report.forEach((entry: RTCStats) => {
      if (entry.type === 'outbound-rtp') outbound(stats, entry as RTCOutboundRtpStreamStats, report);
      if (entry.type === 'remote-inbound-rtp') loss(stats, entry as unknown as RemoteInbound);
      const candidate = entry as RTCIceCandidatePairStats;
      if (entry.type === 'candidate-pair' && candidate.nominated && candidate.state === 'succeeded') pair = candidate;
    });
    if (pair?.currentRoundTripTime !== undefined) stats.rtt = pair.currentRoundTripTime * 1000;
    // Browsers call it bandwidth, too, while they feel their way up.
    if (stats.limit === 'bandwidth' && (pair?.availableOutgoingBitrate ?? 0) > this.#max) delete stats.limit;
    this.#rates(stats);
    return stats;
  }

  #rates(stats: PublisherStats): void {
    const now = performance.now();
    this.#frames.add(now, stats.frames - this.#framesSeen);
    this.#bytes.add(now, stats.bytes - this.#bytesSeen);
    this.#framesSeen = stats.frames;
    this.#bytesSeen = stats.bytes;
    const fps = this.#frames.rate(now);
    const bytes = this.#bytes.rate(now);
    if (fps !== undefined) stats.fps = fps;
    if (bytes !== undefined) stats.bitrate = bytes * 8;
  }

  async #run(): Promise<void> {
    const peer = this.#openPeer();
    this.#peer = peer;
    const [offer] = await Promise.all([this.#offer(peer), this.#release()]);
    if (this.#stopped) return;
    const response = await this.#post(offer);
    if (!response || this.#stopped) return;
    if (response.status !== 201) {
      const reason = await refused(response, this.#target.takeover);
      // Perhaps it is ourselves that it is taken by: what we left behind could not be ended.
      const ghost = reason.code === 'busy' && this.#options.sessions.size > 0;
      this.#down(ghost ? because('closed', reason.detail) : reason);
      return;
    }
    const location = response.headers.get('Location');
    if (location) this.#session = new URL(location, this.#target.url('')).href;
    if (this.#session) this.#options.sessions.set(this.#session, null);
    const answer = await response.text();
    if (this.#stopped) return;
    await peer.setRemoteDescription({ type: 'answer', sdp: answer });
    if (this.#stopped) return;
    if (peer.getTransceivers()[0]?.currentDirection !== 'sendonly') {
      this.#down(because('unsupported'));
      return;
    }
    this.setQuality(this.#quality, this.#resolution);
    this.#later(() => this.#up || this.#down(because('ice')), CONNECT_LIMIT);
  }

  #openPeer(): RTCPeerConnection {
    // No ICE servers: nobody here needs the internet to reach the next room.
    const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const { video, audio, simulcast } = this.#options;
    const transceiver = peer.addTransceiver(video, { direction: 'sendonly', sendEncodings: this.#encodings(simulcast) });
    preferH264(transceiver);
    this.#video = transceiver.sender;
    if (audio) this.#audio = peer.addTransceiver(audio, { direction: 'sendonly' }).sender;
    peer.onconnectionstatechange = () => this.#connection(peer.connectionState);
    return peer;
  }

  /** Bits per second of the video. */
  get #max(): number {
    return bitrate(this.#quality, this.#resolution);
  }

  /** Smallest first, as browsers expect it for simulcast. */
  #encodings(simulcast: boolean): RTCRtpEncodingParameters[] {
    const max = this.#max;
    if (!simulcast) return [{ maxBitrate: max }];
    return [
      { rid: 'low', scaleResolutionDownBy: 4, maxBitrate: Math.max(100_000, Math.round(max / 8)) },
      { rid: 'full', scaleResolutionDownBy: 1, maxBitrate: max },
    ];
  }

  /** The offer with the candidates that were found in time. */
  async #offer(peer: RTCPeerConnection): Promise<string> {
    const complete = new Promise<void>((resolve) => {
      peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && resolve();
      this.#later(resolve, GATHER_LIMIT);
    });
    await peer.setLocalDescription(await peer.createOffer());
    if (peer.iceGatheringState !== 'complete' && !this.#stopped) await complete;
    return peer.localDescription?.sdp ?? '';
  }

  /** Ends what we left behind: the server would call the id taken. */
  async #release(): Promise<void> {
    const { sessions } = this.#options;
    if (sessions.size === 0) return;
    const signal = this.#within(RELEASE_LIMIT);
    const ended = Promise.all([...sessions.keys()].map((url) => end(url, sessions, { signal })));
    // A request of an earlier link may hang for longer.
    await Promise.race([ended, new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))]);
  }

  async #post(offer: string): Promise<Response | null> {
    const url = this.#target.url(`whip/${encodeURIComponent(this.#target.id)}`);
    if (this.#target.takeover) url.searchParams.set('takeover', '1');
    try {
      return await fetch(url.href, {
        method: 'POST',
        headers: { 'Content-Type': 'application/sdp' },
        body: offer,
        credentials: 'include',
        cache: 'no-store',
        signal: this.#within(ANSWER_LIMIT),
      });
    } catch {
      this.#down(because('unreachable'));
      return null;
    }
  }

  /** Aborts after so many ms, or when the link stops. */
  #within(limit: number): AbortSignal {
    const abort = new AbortController();
    this.#abort.signal.addEventListener('abort', () => abort.abort());
    this.#later(() => abort.abort(), limit);
    return abort.signal;
  }

  #connection(state: RTCPeerConnectionState): void {
    if (this.#disconnected !== null) this.#cancel(this.#disconnected);
    this.#disconnected = null;
    switch (state) {
      case 'connected':
        if (!this.#up && !this.#stopped) {
          this.#up = true;
          this.#events.up();
        }
        break;
      case 'disconnected':
        this.#disconnected = this.#later(() => this.#down(because('ice')), DISCONNECTED_LIMIT);
        break;
      case 'failed':
        this.#down(because('ice'));
        break;
      case 'closed':
        // The other side said goodbye by DTLS.
        this.#down(because('closed'));
        break;
    }
  }

  #down(reason: PublishReason): void {
    if (this.#stopped || this.#finished) return;
    this.#finished = true;
    this.#events.down(reason);
  }

  #later(what: () => void, wait: number): ReturnType<typeof setTimeout> {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#stopped) what();
    }, wait);
    this.#timers.add(timer);
    return timer;
  }

  #cancel(timer: ReturnType<typeof setTimeout>): void {
    clearTimeout(timer);
    this.#timers.delete(timer);
  }

  #closePeer(): void {
    const peer = this.#peer;
    this.#peer = null;
    if (!peer) return;
    peer.onconnectionstatechange = peer.onicegatheringstatechange = null;
    peer.close();
  }
}

/** Ends a session, unless a request that is under way does. */
async function end(url: string, sessions: Map<string, Promise<void> | null>, init: RequestInit): Promise<void> {
  const pending = sessions.get(url);
  if (pending) {
    await pending;
    if (!sessions.has(url)) return;
  }
  const request = fetch(url, { ...init, method: 'DELETE', credentials: 'include' }).then(
    // Any answer will do: a session that the server does not know has ended.
    () => void sessions.delete(url),
    // The network is away, or it took too long.
    () => void sessions.set(url, null),
  );
  sessions.set(url, request);
  await request;
}

/** H.264 goes to every viewer as it is; what else the browser has stays as a fallback. */
function preferH264(transceiver: RTCRtpTransceiver): void {
  const codecs = RTCRtpSender.getCapabilities?.('video')?.codecs;
  if (!codecs || !transceiver.setCodecPreferences) return;
  const isH264 = (c: { mimeType: string }) => c.mimeType.toLowerCase() === 'video/h264';
  // Sorting is stable: among themselves they stay as the browser likes them.
  transceiver.setCodecPreferences([...codecs].sort((a, b) => Number(isH264(b)) - Number(isH264(a))));
}

interface RemoteInbound {
  readonly kind?: string;
  readonly fractionLost?: number;
}

function loss(stats: PublisherStats, entry: RemoteInbound): void {
  if (entry.kind === 'video' && entry.fractionLost !== undefined) stats.loss = Math.max(stats.loss ?? 0, entry.fractionLost);
}

/** With simulcast there is an entry for each rendering: bytes add up, the largest one is what people mean. */
function outbound(stats: PublisherStats, entry: RTCOutboundRtpStreamStats, report: RTCStatsReport): void {
  stats.bytes += entry.bytesSent ?? 0;
  if (entry.kind !== 'video') return;
  stats.frames = Math.max(stats.frames, entry.framesSent ?? 0);
  if ((entry.frameWidth ?? 0) <= (stats.width ?? 0)) return;
  if (entry.frameWidth) stats.width = entry.frameWidth;
  if (entry.frameHeight) stats.height = entry.frameHeight;
  const codec = entry.codecId ? (report.get(entry.codecId) as { mimeType?: string } | undefined) : undefined;
  const name = codec?.mimeType?.split('/')[1];
  if (name) stats.codec = name;
  const limit = entry.qualityLimitationReason;
  if (limit === 'cpu' || limit === 'bandwidth') stats.limit = limit;
}
