import { DelayMeter, Meter, capturedAt } from './clock';
import type { ClockMark } from './clock';
import type { Rung, RungContext } from './rung';
import { errorReason, parseServerMessage } from './signal';
import type { ClientMessage, ServerMessage } from './signal';
import { put } from './types';
import type { PlayerStats, Reason } from './types';

/** ICE often recovers from a short disconnection by itself; longer ones need a new start (ms). */
const DISCONNECTED_LIMIT = 2000;
/** The server answers pings and tells its clock every second; no word for so long (ms) means it is gone. */
const SILENCE_LIMIT = 6000;
/** A few quick pings at the start find the clock offset before the first picture is a second old (ms). */
const QUICK_PINGS = [0, 60, 150, 300, 600];
const PING_INTERVAL = 2000;

/**
 * Pictures by WebRTC, signaled over a WebSocket with trickle in both ways. The
 * offer and the socket are made at the same time, and no candidate is waited
 * for: the first picture takes as long as the two slowest round trips.
 */
export class WebRTCRung implements Rung {
  readonly name = 'webrtc';
  readonly surface: HTMLVideoElement;
  readonly #ctx: RungContext;
  readonly #delay: DelayMeter;
  readonly #pictures = new Meter();
  readonly #bytes = new Meter();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #leave = new AbortController();
  readonly #outbox: ClientMessage[] = [];
  #peer: RTCPeerConnection | null = null;
  #socket: WebSocket | null = null;
  #stopped = false;
  #finished = false;
  #answered = false;
  #offered = false;
  #heardAt = 0;
  #mark: ClockMark | null = null;
  #frameCallback = 0;
  #counted = 0;
  #bytesSeen = 0;
  #disconnected: ReturnType<typeof setTimeout> | null = null;
  #complaint: Reason | null = null;
  /** Answer and candidates must be applied one after the other. */
  #inbox: Promise<void> = Promise.resolve();

  constructor(ctx: RungContext) {
    this.#ctx = ctx;
    this.#delay = new DelayMeter(ctx.clock);
    this.surface = document.createElement('video');
    this.surface.muted = true;
    this.surface.autoplay = true;
    this.surface.playsInline = true;
    this.surface.disableRemotePlayback = true;
  }

  start(): void {
    if (typeof RTCPeerConnection === 'undefined' || typeof WebSocket === 'undefined') {
      this.#later(() => this.#down({ code: 'unsupported' }), 0);
      return;
    }
    try {
      this.#socket = this.#openSocket();
      this.#peer = this.#openPeer();
      this.#inbox = this.#offer(this.#peer).catch((err: unknown) => this.#broken(err));
    } catch (err) {
      // Some privacy settings let the constructor throw.
      this.#later(() => this.#broken(err), 0);
    }
    this.#watchFrames();
  }

  setMuted(muted: boolean): void {
    this.surface.muted = muted;
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#leave.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    if (this.#frameCallback && 'cancelVideoFrameCallback' in this.surface) {
      this.surface.cancelVideoFrameCallback(this.#frameCallback);
    }
    this.#closeSocket();
    this.#closePeer();
    this.surface.srcObject = null;
  }

  async stats(): Promise<PlayerStats> {
    const stats: PlayerStats = {};
    put(stats, 'delay', this.#delay.value);
    put(stats, 'rtt', this.#ctx.clock.rtt);
    put(stats, 'width', this.surface.videoWidth || undefined);
    put(stats, 'height', this.surface.videoHeight || undefined);
    put(stats, 'fps', this.#pictures.rate(performance.now()));
    const report = await this.#peer?.getStats();
    report?.forEach((entry: RTCInboundRtpStreamStats) => {
      if (entry.type !== 'inbound-rtp' || entry.kind !== 'video') return;
      this.#inbound(stats, entry, report);
    });
    return stats;
  }

  #inbound(stats: PlayerStats, entry: RTCInboundRtpStreamStats, report: RTCStatsReport): void {
    const codec = entry.codecId ? (report.get(entry.codecId) as { mimeType?: string } | undefined) : undefined;
    put(stats, 'codec', codec?.mimeType?.split('/')[1]);
    put(stats, 'lost', entry.packetsLost);
    const bytes = entry.bytesReceived ?? 0;
    this.#bytes.add(performance.now(), bytes - this.#bytesSeen);
    this.#bytesSeen = bytes;
    const rate = this.#bytes.rate(performance.now());
    put(stats, 'bitrate', rate === undefined ? undefined : rate * 8);
  }

  #openSocket(): WebSocket {
    const socket = new WebSocket(this.#ctx.url.signal());
    socket.onopen = () => {
      this.#heardAt = performance.now();
      for (const message of this.#outbox.splice(0)) socket.send(JSON.stringify(message));
      for (const wait of QUICK_PINGS) this.#later(() => this.#ping(), wait);
      this.#later(() => this.#keepPinging(), PING_INTERVAL);
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => {
      // 4xxx and 1008 come with the server's own words (RFC 6455 section 7.4).
      const reason: Reason = event.reason ? { code: 'signaling', detail: event.reason } : { code: 'signaling' };
      this.#down(this.#complaint ?? reason);
    };
    return socket;
  }

  #openPeer(): RTCPeerConnection {
    // No ICE servers: nobody here needs the internet to see the next room.
    const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const video = peer.addTransceiver('video', { direction: 'recvonly' });
    peer.addTransceiver('audio', { direction: 'recvonly' });
    if ('jitterBufferTarget' in video.receiver) video.receiver.jitterBufferTarget = 0;
    const stream = new MediaStream();
    peer.ontrack = ({ track }) => {
      stream.addTrack(track);
      this.#attachWhenLoaded(stream, track);
    };
    peer.onicecandidate = ({ candidate }) => this.#candidate(candidate);
    peer.oniceconnectionstatechange = () => this.#iceState(peer.iceConnectionState);
    peer.onconnectionstatechange = () => {
      if (peer.connectionState === 'failed') this.#down({ code: 'ice' });
    };
    return peer;
  }

  /**
   * A video without a picture holds up the page's load event (HTML section
   * 4.8.11.5), and a dark camera would leave the browser loading for ever. So
   * while the page loads the video waits for media; after that it need not.
   */
  #attachWhenLoaded(stream: MediaStream, track: MediaStreamTrack): void {
    const attach = () => {
      if (this.#stopped || this.surface.srcObject) return;
      this.surface.srcObject = stream;
      this.surface.play().catch((err: unknown) => this.#notPlaying(err));
    };
    if (document.readyState === 'complete') {
      attach();
      return;
    }
    const { signal } = this.#leave;
    addEventListener('load', attach, { signal });
    track.addEventListener('unmute', attach, { signal });
  }

  /** Without a gesture browsers start no sound. Muted video may always start; else there is "no picture". */
  #notPlaying(err: unknown): void {
    const refused = err instanceof DOMException && err.name === 'NotAllowedError';
    if (this.#stopped || !refused || this.surface.muted) return;
    this.surface.muted = true;
    this.#ctx.events.silenced?.();
    this.surface.play().catch(() => undefined);
  }

  async #offer(peer: RTCPeerConnection): Promise<void> {
    const offer = await peer.createOffer();
    if (this.#stopped) return;
    this.#send({ type: 'offer', sdp: offer.sdp ?? '' });
    this.#offered = true;
    await peer.setLocalDescription(offer);
  }

  #candidate(candidate: RTCIceCandidate | null): void {
    if (!this.#offered) return;
    // The empty candidate only ends a generation (RFC 8838 section 8.2); null says the same.
    if (candidate && !candidate.candidate) return;
    this.#send({
      type: 'candidate',
      candidate: candidate && {
        candidate: candidate.candidate,
        sdpMid: candidate.sdpMid,
        sdpMLineIndex: candidate.sdpMLineIndex,
      },
    });
  }

  #send(message: ClientMessage): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
    else if (message.type !== 'ping') this.#outbox.push(message);
  }

  #receive(data: unknown): void {
    const now = performance.now();
    this.#heardAt = now;
    const message = parseServerMessage(data);
    if (!message || this.#stopped) return;
    switch (message.type) {
      case 'answer':
      case 'candidate':
        this.#inbox = this.#inbox.then(() => this.#apply(message)).catch((err: unknown) => this.#broken(err));
        break;
      case 'pong':
        this.#ctx.clock.add(message.t, message.server, now);
        break;
      case 'clock':
        this.#mark = message;
        break;
      case 'state':
        this.#ctx.events.source(message.state, message.reason);
        break;
      case 'error': {
        const reason = errorReason(message);
        this.#complaint = reason;
        // After the answer the pictures themselves tell whether it matters.
        if (!this.#answered || reason.code !== 'refused') this.#down(reason);
        break;
      }
    }
  }

  async #apply(message: ServerMessage): Promise<void> {
    const peer = this.#peer;
    if (this.#stopped || !peer) return;
    if (message.type === 'answer') {
      this.#answered = true;
      await peer.setRemoteDescription({ type: 'answer', sdp: message.sdp });
      const video = peer.getTransceivers()[0]?.currentDirection;
      // The server has refused the video: no codec in common.
      if (video === 'inactive' || video === 'stopped') this.#down(this.#complaint ?? { code: 'unsupported' });
    } else if (message.type === 'candidate' && message.candidate) {
      // One candidate of an unknown kind must not cost the others.
      await peer.addIceCandidate(message.candidate).catch(() => undefined);
    }
  }

  #iceState(state: RTCIceConnectionState): void {
    if (this.#disconnected !== null) this.#cancel(this.#disconnected);
    this.#disconnected = null;
    if (state === 'failed') this.#down({ code: 'ice' });
    if (state !== 'disconnected') return;
    this.#disconnected = this.#later(() => this.#down({ code: 'ice' }), DISCONNECTED_LIMIT);
  }

  #ping(): void {
    this.#send({ type: 'ping', t: performance.now() });
  }

  #keepPinging(): void {
    if (performance.now() - this.#heardAt > SILENCE_LIMIT) {
      this.#down({ code: 'silent' });
      return;
    }
    this.#ping();
    this.#later(() => this.#keepPinging(), PING_INTERVAL);
  }

  #watchFrames(): void {
    if (!('requestVideoFrameCallback' in this.surface)) {
      this.#countFrames();
      return;
    }
    const next = () => {
      this.#frameCallback = this.surface.requestVideoFrameCallback((_now, meta) => {
        if (this.#stopped) return;
        if (this.#mark && meta.rtpTimestamp !== undefined) {
          this.#delay.add(capturedAt(this.#mark, meta.rtpTimestamp), meta.presentationTime);
        }
        this.#shown();
        next();
      });
    };
    next();
  }

  /** For browsers without frame callbacks: the counter tells, four times a second. */
  #countFrames(): void {
    const count = (this.surface as HTMLVideoElement).getVideoPlaybackQuality().totalVideoFrames;
    if (count > this.#counted) this.#shown();
    this.#counted = count;
    this.#later(() => this.#countFrames(), 250);
  }

  #shown(): void {
    this.#pictures.add(performance.now());
    this.#ctx.events.picture();
  }

  #broken(err: unknown): void {
    this.#down({ code: 'decode', detail: err instanceof Error ? err.message : String(err) });
  }

  #down(reason: Reason): void {
    if (this.#stopped || this.#finished) return;
    this.#finished = true;
    this.#ctx.events.down(reason);
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

  #closeSocket(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: 'bye' } satisfies ClientMessage));
    socket.close();
  }

  #closePeer(): void {
    const peer = this.#peer;
    this.#peer = null;
    if (!peer) return;
    peer.ontrack = peer.onicecandidate = peer.oniceconnectionstatechange = peer.onconnectionstatechange = null;
    peer.close();
  }
}
