import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { CamwireView, setHome } from './camwire-view';

class FakeSocket {
  static all: FakeSocket[] = [];
  closed = false;
  onopen = null;
  onmessage: ((e: { data: string }) => void) | null = null;
  onclose = null;

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }

  send() {
    // Nobody listens.
  }

  close() {
    this.closed = true;
  }
}

class FakePeer {
  addTransceiver() {
    return { receiver: {} };
  }
  createOffer() {
    return new Promise(() => undefined);
  }
  close() {
    // Nothing is kept.
  }
}

beforeAll(() => {
  customElements.define('camwire-view', CamwireView);
  // What browsers have and this one lacks.
  Object.assign(HTMLVideoElement.prototype, {
    requestVideoFrameCallback: () => 1,
    cancelVideoFrameCallback: () => undefined,
  });
});

describe('camwire-view', () => {
  let fetched: string[];
  let seen: { type: string; detail: unknown }[];

  beforeEach(() => {
    FakeSocket.all = [];
    fetched = [];
    seen = [];
    vi.stubGlobal('WebSocket', FakeSocket);
    vi.stubGlobal('RTCPeerConnection', FakePeer);
    vi.stubGlobal('fetch', (url: string) => {
      fetched.push(url);
      return new Promise(() => undefined);
    });
    setHome('https://cam.test:8443/camwire-view.js');
    for (const type of ['camwire-state', 'camwire-error']) document.addEventListener(type, note);
  });

  afterEach(async () => {
    document.body.replaceChildren();
    await settle();
    expect(FakeSocket.all.every((s) => s.closed)).toBe(true);
    for (const type of ['camwire-state', 'camwire-error']) document.removeEventListener(type, note);
    vi.unstubAllGlobals();
  });

  const note = (e: Event) => void seen.push({ type: e.type, detail: (e as CustomEvent<unknown>).detail });
  const settle = () => new Promise<void>((done) => queueMicrotask(() => queueMicrotask(done)));

  async function put(html: string): Promise<CamwireView> {
    document.body.innerHTML = html;
    await settle();
    return document.body.querySelector('camwire-view') as CamwireView;
  }

  const box = (view: CamwireView) => view.shadowRoot?.querySelector<HTMLElement>('.box') as HTMLElement;

  it('plays the camera of the server that the script came from', async () => {
    await put('<camwire-view camera="door"></camwire-view>');
    expect(FakeSocket.all[0]?.url).toBe('wss://cam.test:8443/api/signal/door');
  });

  it('plays from elsewhere, with a token that the page does not show', async () => {
    const view = await put('<camwire-view src="http://other.test/cam/" camera="a b"></camwire-view>');
    view.token = 'secret';
    await settle();
    expect(FakeSocket.all.map((s) => s.url)).toEqual([
      'ws://other.test/cam/api/signal/a%20b',
      'ws://other.test/cam/api/signal/a%20b?token=secret',
    ]);
    expect(FakeSocket.all[0]?.closed).toBe(true);
    expect(document.body.innerHTML).not.toContain('secret');
  });

  it('has the same in attributes and properties', async () => {
    const view = await put('<camwire-view camera="door" mode="snap" muted controls fit="cover" rung="mse"></camwire-view>');
    expect(view).toMatchObject({ camera: 'door', mode: 'snap', muted: true, controls: true, fit: 'cover', rung: 'mse' });
    Object.assign(view, { camera: 'gate', mode: 'live', muted: false, controls: false, fit: 'fill', rung: 'auto', src: '/x' });
    expect(view.outerHTML).toBe('<camwire-view camera="gate" mode="live" fit="fill" rung="auto" src="/x"></camwire-view>');
    view.setAttribute('mode', 'other');
    view.setAttribute('fit', 'other');
    view.setAttribute('rung', 'other');
    expect(view).toMatchObject({ mode: 'live', fit: 'contain', rung: 'auto' });
  });

  it('asks for still pictures in snap mode, and goes live again', async () => {
    const view = await put('<camwire-view camera="door" mode="snap"></camwire-view>');
    expect(FakeSocket.all).toHaveLength(0);
    expect(fetched[0]).toBe('https://cam.test:8443/api/camera/snapshot/door');
    view.mode = 'live';
    await settle();
    expect(FakeSocket.all).toHaveLength(1);
  });

  it('survives a move in the page, and closes everything at its end', async () => {
    const view = await put('<camwire-view camera="door"></camwire-view><div></div>');
    document.body.querySelector('div')?.append(view);
    await settle();
    expect(FakeSocket.all).toHaveLength(1);
    expect(FakeSocket.all[0]?.closed).toBe(false);
    view.remove();
    await settle();
    expect(FakeSocket.all[0]?.closed).toBe(true);
    expect(view.status).toBeNull();
    document.body.append(view);
    await settle();
    expect(FakeSocket.all).toHaveLength(2);
  });

  it('gives its state away and takes it back', async () => {
    const view = await put('<camwire-view camera="door" muted></camwire-view>');
    const start = view.exportState();
    expect(start).toEqual({ camera: 'door', mode: 'live', zoom: 1, pan: { x: 0.5, y: 0.5 }, muted: true, rung: 'auto' });
    view.restoreState({ zoom: 4, pan: { x: 0.25, y: 0.75 }, mode: 'snap', muted: false, rung: 'mjpeg' });
    const state = JSON.parse(JSON.stringify(view.exportState())) as ReturnType<CamwireView['exportState']>;
    expect(state).toEqual({ camera: 'door', mode: 'snap', zoom: 4, pan: { x: 0.25, y: 0.75 }, muted: false, rung: 'mjpeg' });
    expect(box(view).style.transform).toContain('scale(4');
    view.restoreState({ zoom: -3, pan: { x: NaN, y: 7 } } as never);
    expect(view.exportState()).toMatchObject({ zoom: 1, pan: { x: 0.5, y: 0.5 }, mode: 'snap' });
    view.restoreState(start);
    expect(view.exportState()).toEqual(start);
  });

  it('zooms by keys', async () => {
    const view = await put('<camwire-view camera="door"></camwire-view>');
    const stage = view.shadowRoot?.querySelector('.stage');
    stage?.dispatchEvent(new KeyboardEvent('keydown', { key: '+', cancelable: true }));
    expect(view.exportState().zoom).toBeCloseTo(1.25);
    stage?.dispatchEvent(new KeyboardEvent('keydown', { key: '+', ctrlKey: true }));
    expect(view.exportState().zoom).toBeCloseTo(1.25);
  });

  it('says what is wrong, in the language of its place', async () => {
    const view = await put('<div lang="de-AT"><camwire-view></camwire-view></div>');
    expect(seen).toEqual([
      { type: 'camwire-error', detail: { state: 'failed', code: 'unknown-camera', detail: 'Es ist keine Kamera genannt.' } },
    ]);
    view.camera = 'door';
    await settle();
    FakeSocket.all[0]?.onmessage?.({ data: JSON.stringify({ type: 'state', state: 'failed', reason: 'unplugged' }) });
    expect(seen.slice(-2)).toEqual([
      { type: 'camwire-state', detail: expect.objectContaining({ state: 'failed' }) as unknown },
      { type: 'camwire-error', detail: { state: 'failed', code: 'camera', detail: 'unplugged' } },
    ]);
    await settle();
    expect(view.shadowRoot?.querySelector('.note')?.textContent).toBe('Geht nichtunplugged');
    expect(view.status?.state).toBe('failed');
  });

  it('has controls with names, when they are wanted', async () => {
    const view = await put('<camwire-view camera="door" muted></camwire-view>');
    expect(view.shadowRoot?.querySelector('button')).toBeNull();
    view.controls = true;
    await settle();
    const find = (name: string) => view.shadowRoot?.querySelector<HTMLButtonElement>(`[data-do='${name}']`);
    expect(find('sound')?.getAttribute('aria-label')).toBe('Sound on');
    find('sound')?.click();
    find('snap')?.click();
    await settle();
    expect(view).toMatchObject({ muted: false, mode: 'snap' });
    expect(find('sound')?.getAttribute('aria-label')).toBe('Sound off');
    expect(find('snap')?.getAttribute('aria-pressed')).toBe('true');
  });
});
