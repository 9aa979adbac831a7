import { flushPromises, mount } from '@vue/test-utils';
import type { VueWrapper } from '@vue/test-utils';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import App from '../App.vue';
import { parseSession } from '../api/accounts';
import type { Session } from '../api/accounts';
import { Api, ApiError, UnreachableError } from '../api/client';
import { parseCameras } from '../api/types';
import type { Camera } from '../api/types';
import { loadLocale, makeI18n } from '../i18n';
import { makeRouter } from '../router';

class FakeApi extends Api {
  answer: () => Promise<Camera[]> = () => Promise.resolve([]);
  given: string[] = [];
  who: Session | null = null;

  override cameras() {
    return this.answer();
  }

  override session() {
    return Promise.resolve(this.who);
  }

  override usb() {
    return Promise.resolve([]);
  }

  override entries() {
    return Promise.resolve([]);
  }

  override signInAs(user: string, password: string) {
    return this.signIn(`${user} ${password}`);
  }

  override signIn(token: string) {
    this.given.push(token);
    if (token !== 'right' && token !== 'me right') return Promise.reject(new ApiError(401, 'no'));
    this.answer = () => Promise.resolve(parseCameras([{ device_id: 'door', name: 'Front door', state: 'live' }]));
    return Promise.resolve();
  }
}

const ADMIN = parseSession({ name: 'admin', kind: 'admin', grants: [{ permissions: ['admin'], cameras: [] }] });

describe('pages', () => {
  let api: FakeApi;
  let app: VueWrapper;

  beforeEach(() => {
    localStorage.clear();
    api = new FakeApi();
    // The pages are tested here, not the player: nothing ever answers it.
    vi.stubGlobal('RTCPeerConnection', undefined);
    vi.stubGlobal('fetch', () => new Promise(() => undefined));
    vi.stubGlobal(
      'IntersectionObserver',
      class {
        readonly #tell: (entries: { target: Element; isIntersecting: boolean }[]) => void;
        constructor(tell: (entries: { target: Element; isIntersecting: boolean }[]) => void) {
          this.#tell = tell;
        }
        observe(target: Element) {
          this.#tell([{ target, isIntersecting: true }]);
        }
        disconnect() {
          // Nothing is kept.
        }
      },
    );
  });

  afterEach(() => {
    app.unmount();
    vi.unstubAllGlobals();
  });

  async function open(path: string) {
    history.replaceState(null, '', path);
    const router = makeRouter();
    const i18n = makeI18n();
    await loadLocale(i18n.global);
    app = mount(App, { props: { api }, global: { plugins: [i18n, router] }, attachTo: document.body });
    await router.isReady();
    await flushPromises();
  }

  it('shows a tile per camera, with its name and state in words', async () => {
    api.answer = () =>
      Promise.resolve(
        parseCameras([
          { device_id: 'attic', name: 'Attic', state: 'disabled' },
          { device_id: 'door', name: 'Front door', state: 'lost', error: 'unplugged' },
        ]),
      );
    await open('/');
    const tiles = app.findAll('a.tile');
    expect(tiles.map((t) => t.attributes('href'))).toEqual(['/camera/attic', '/camera/door']);
    expect(tiles[0]?.text()).toMatch(/^Attic\s*Switched off$/);
    expect(tiles[0]?.find('.cw-player').exists()).toBe(false);
    expect(tiles[1]?.get('.cw-player').attributes()).toMatchObject({ 'data-camera': 'door', 'data-state': 'lost' });
    expect(tiles[1]?.text()).toContain('unplugged');
    expect(app.text()).toContain('0 of 2 live');
  });

  it('leads an administrator to the first camera, and nobody else', async () => {
    api.who = ADMIN;
    await open('/');
    expect(app.text()).toContain('Add your first camera');
    expect(app.findAll('.ways a').map((a) => a.attributes('href'))).toEqual(['/cameras/new?kind=ip', '/connect']);
    app.unmount();
    api.who = null;
    await open('/');
    expect(app.text()).toContain('No cameras to see');
    expect(app.find('.tools a[href="/cameras/new"]').exists()).toBe(false);
  });

  it('offers the settings of a camera to who may change them', async () => {
    api.answer = () => Promise.resolve(parseCameras([{ device_id: 'door' }, { device_id: 'attic' }]));
    api.who = parseSession({ name: 'me', kind: 'user', grants: [{ permissions: ['view'] }, { permissions: ['admin'], cameras: ['do*'] }] });
    await open('/');
    expect(app.findAll('a.edit').map((a) => a.attributes('href'))).toEqual(['/cameras/door/edit']);
  });

  it('walks through the tiles by the arrow keys', async () => {
    api.answer = () => Promise.resolve(parseCameras([{ device_id: 'a' }, { device_id: 'b' }]));
    await open('/');
    const [a, b] = app.findAll<HTMLElement>('a.tile');
    a?.element.focus();
    await a?.trigger('keydown', { key: 'ArrowRight' });
    expect(document.activeElement).toBe(b?.element);
    await b?.trigger('keydown', { key: 'Home' });
    expect(document.activeElement).toBe(a?.element);
  });

  it('asks for a token, says when it is wrong, and goes on when it is right', async () => {
    api.answer = () => Promise.reject(new ApiError(401, 'who are you?'));
    await open('/camera/door');
    const field = app.get<HTMLInputElement>('input[name=token]');
    expect(document.activeElement).toBe(field.element);
    await app.get('form').trigger('submit');
    expect(api.given).toEqual([]);
    await field.setValue(' wrong ');
    await app.get('form').trigger('submit');
    await flushPromises();
    expect(app.get('[role=alert]').text()).toBe('This token is not valid.');
    await field.setValue('right');
    await app.get('form').trigger('submit');
    await flushPromises();
    expect(api.given).toEqual(['wrong', 'right']);
    expect(app.get('h1').text()).toBe('Front door');
    expect(document.title).toBe('Front door · Camwire');
  });

  it('signs in by name and password as well, and remembers that', async () => {
    api.answer = () => Promise.reject(new ApiError(401, 'who are you?'));
    await open('/');
    await app.get('input[value=password]').setValue(true);
    await app.get('input[name=user]').setValue('me');
    await app.get('input[name=password]').setValue('wrong');
    await app.get('form').trigger('submit');
    await flushPromises();
    expect(app.text()).toContain('Name and password do not fit.');
    await app.get('input[name=password]').setValue('right');
    await app.get('form').trigger('submit');
    await flushPromises();
    expect(app.find('a.tile').exists()).toBe(true);
    app.unmount();
    api.answer = () => Promise.reject(new ApiError(401, 'who are you?'));
    await open('/');
    expect(app.find('input[name=user]').exists()).toBe(true);
  });

  it('starts the player of a camera before the list has come', async () => {
    api.answer = () => new Promise(() => undefined);
    await open('/camera/door');
    expect(app.get('.cw-player').attributes('data-camera')).toBe('door');
  });

  it('says that there is no such camera', async () => {
    await open('/camera/nothing');
    expect(app.get('h1').text()).toBe('No such camera');
    expect(app.text()).toContain('“nothing”');
    expect(app.find('.cw-player').exists()).toBe(false);
  });

  it('says that the server is away, or what it says', async () => {
    api.answer = () => Promise.reject(new UnreachableError(null));
    await open('/');
    expect(app.get('[role=status].holder').text()).toBe('Camwire does not answer. Trying again.');
    app.unmount();
    api.answer = () => Promise.reject(new ApiError(403, 'host not allowed'));
    await open('/');
    expect(app.get('[role=status].holder').text()).toBe('Camwire says: host not allowed');
  });

  it('says that an address belongs to no page', async () => {
    await open('/what/is/this');
    expect(app.get('h1').text()).toBe('Nothing here');
  });

  it('speaks German and remembers it', async () => {
    await open('/settings');
    await app.get('.language select').setValue('de');
    await vi.waitFor(() => expect(app.text()).toContain('Einstellungen'), 10_000);
    expect(document.documentElement.lang).toBe('de');
    app.unmount();
    await open('/');
    expect(app.text()).toContain('Keine Kameras zu sehen');
  });

  it('leaves the camera with Escape', async () => {
    api.answer = () => Promise.resolve(parseCameras([{ device_id: 'door', state: 'live' }]));
    await open('/camera/door');
    dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }));
    await vi.waitFor(() => expect(location.pathname).toBe('/'));
    await flushPromises();
    expect(app.find('a.tile').exists()).toBe(true);
  });
});
