import { flushPromises, mount } from '@vue/test-utils';
import type { VueWrapper } from '@vue/test-utils';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { shallowRef } from 'vue';
import { Api } from '../api/client';
import { parseCameras } from '../api/types';
import type { Cameras } from '../api/watch';
import { SHARED } from '../cameras';
import CameraPlayer from '../components/CameraPlayer.vue';
import { makeI18n } from '../i18n';
import { makeRouter } from '../router';
import CameraView from './CameraView.vue';

describe('CameraView', () => {
  let app: VueWrapper;
  let router: ReturnType<typeof makeRouter>;

  beforeEach(async () => {
    localStorage.clear();
    vi.useFakeTimers();
    // The page is tested here, not the player: nothing ever answers it.
    vi.stubGlobal('RTCPeerConnection', undefined);
    vi.stubGlobal('fetch', () => new Promise(() => undefined));
    HTMLDialogElement.prototype.showModal ??= function (this: HTMLDialogElement) {
      this.open = true;
    };
    history.replaceState(null, '', '/camera/door');
    await show();
  });

  afterEach(() => {
    app.unmount();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  async function show() {
    router = makeRouter();
    const cameras = shallowRef<Cameras>({
      list: parseCameras([{ device_id: 'door', name: 'Front door', state: 'live', source_type: 'rtsp', codec: 'H264' }]),
      loaded: true,
      link: 'ok',
      message: '',
    });
    app = mount(CameraView, {
      props: { id: 'door' },
      global: {
        plugins: [makeI18n(), router],
        provide: { [SHARED as symbol]: { api: new Api(), cameras, session: shallowRef(null), refresh: () => undefined } },
      },
      attachTo: document.body,
    });
    await flushPromises();
  }

  async function press(key: string, init: KeyboardEventInit = {}, target: EventTarget = document.body) {
    target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...init }));
    await flushPromises();
  }

  const said = () => app.findAll('.sr-only[role="status"]').map((e) => e.text());
  const inner = () => app.getComponent(CameraPlayer);

  it('has a name for everything, in the order of reading', () => {
    const controls = app.findAll('a, button').filter((e) => !e.element.closest('dialog'));
    const names = controls.map((e) => e.attributes('aria-label') ?? e.text());
    expect(names).toEqual(
      expect.arrayContaining(['All cameras', 'Live', 'Snap', 'Sound on', 'Save picture', 'Keyboard shortcuts', 'Zoom in', 'Details']),
    );
    expect(names.indexOf('Live')).toBeLessThan(names.indexOf('Zoom in'));
    expect(names.at(-1)).toBe('Details');
  });

  it('changes between live and still pictures', async () => {
    expect(inner().props('prefer')).toBe('webrtc');
    await press('l');
    expect(inner().props('prefer')).toBe('stills');
    expect(app.find('.mode [aria-pressed="true"]').text()).toBe('Snap');
    await app.findAll('.mode button')[0]?.trigger('click');
    expect(inner().props('prefer')).toBe('webrtc');
  });

  it('starts without sound, and remembers who wants it', async () => {
    expect(inner().props('sound')).toBe(false);
    await press('m');
    expect(inner().props('sound')).toBe(true);
    app.unmount();
    await show();
    expect(inner().props('sound')).toBe(true);
    inner().vm.$emit('silenced');
    await flushPromises();
    expect(inner().props('sound')).toBe(false);
    expect(said()[1]).toContain('wants a click');
    app.unmount();
    await show();
    expect(inner().props('sound')).toBe(true);
  });

  it('zooms by keys, and says so once', async () => {
    await press('+');
    await press('+');
    await press('ArrowRight');
    expect(app.get('.lens').attributes('style')).toContain('scale(1.5625)');
    expect(said()[1]).toBe('');
    await vi.advanceTimersByTimeAsync(500);
    expect(said()[1]).toBe('Zoom 156 %');
    await press('0');
    expect(app.get('.lens').attributes('style')).toContain('none');
    await vi.advanceTimersByTimeAsync(500);
  });

  it('shows the details on request, and gives the focus back', async () => {
    const button = app.get('[aria-controls="camera-details"]');
    expect(button.attributes('aria-expanded')).toBe('false');
    await press('i');
    expect(button.attributes('aria-expanded')).toBe('true');
    expect(app.get('#camera-details').text()).toContain('rtsp · H264');
    await press('Escape');
    expect(app.find('#camera-details').exists()).toBe(false);
    expect(document.activeElement).toBe(button.element);
  });

  it('leaves letters to those who type, and to those who want none', async () => {
    await press('l', { ctrlKey: true });
    const field = document.createElement('input');
    app.element.append(field);
    await press('l', {}, field);
    expect(inner().props('prefer')).toBe('webrtc');
    await press('?');
    const box = app.get<HTMLInputElement>('dialog input');
    expect(app.get<HTMLDialogElement>('dialog').element.open).toBe(true);
    await box.setValue(false);
    await press('l');
    expect(inner().props('prefer')).toBe('webrtc');
    await press('+');
    expect(app.get('.lens').attributes('style')).toContain('scale(1.25');
    await vi.advanceTimersByTimeAsync(500);
  });

  it('shows the numbers in one line, and more of them in the panel', async () => {
    inner().vm.$emit('status', { state: 'live', rung: 'mse', why: { code: 'ice' } });
    await flushPromises();
    inner().vm.$emit('stats', { delay: 84.4, rtt: 1.26, codec: 'H264', width: 640, height: 360, fps: 25, bitrate: 1.5e6, lost: 3 });
    await flushPromises();
    expect(app.findAll('.line dd').map((e) => e.text())).toEqual(['MSE', '84 ms', 'H264', '640×360', '25 fps', '1.5 Mbit/s', '3 lost']);
    expect(app.get('.line .why').text()).toBe('The network lets no video packets through.');
    await press('i');
    expect(app.findAll('#camera-details dd').map((e) => e.text())).toContain('1.3 ms');
    await press('i');
  });
});
