import { flushPromises, mount } from '@vue/test-utils';
import type { VueWrapper } from '@vue/test-utils';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import App from '../App.vue';
import { parseSession } from '../api/accounts';
import type { Session } from '../api/accounts';
import { Api, UnreachableError } from '../api/client';
import { platform } from '../components/phone/platform';
import { makeI18n } from '../i18n';
import { makeRouter } from '../router';

class FakeApi extends Api {
  who: () => Promise<Session | null> = () => Promise.resolve(null);
  lists = 0;

  override cameras() {
    this.lists++;
    return Promise.resolve([]);
  }

  override session() {
    return this.who();
  }
}

const phone = (more: object = {}) => () =>
  Promise.resolve(parseSession({ name: 'phone', kind: 'token', permissions: ['publish'], cameras: ['mobile_*'], ...more }));

describe('phone pages', () => {
  let api: FakeApi;
  let app: VueWrapper;
  let answers: Record<string, unknown>;
  let asked: string[];

  beforeEach(() => {
    localStorage.clear();
    api = new FakeApi();
    answers = {};
    asked = [];
    vi.stubGlobal('isSecureContext', true);
    vi.stubGlobal('fetch', (url: string | URL, init: RequestInit = {}) => {
      asked.push(`${init.method ?? 'GET'} ${String(url)} ${String(init.body ?? '')}`.trim());
      const answer = answers[String(url)];
      if (answer instanceof Response) return Promise.resolve(answer);
      return answer === undefined ? Promise.reject(new TypeError('failed')) : Promise.resolve(Response.json(answer));
    });
  });

  afterEach(() => {
    app.unmount();
    vi.unstubAllGlobals();
  });

  async function open(path: string, hash = '') {
    history.replaceState(null, '', path + hash);
    const router = makeRouter();
    app = mount(App, { props: { api }, global: { plugins: [makeI18n(), router] }, attachTo: document.body });
    await router.isReady();
    await vi.waitFor(() => expect(document.querySelector('main')?.textContent?.trim()).toBeTruthy());
    await flushPromises();
  }

  it('is a camera in waiting for whoever has a link, and asks for no list', async () => {
    api.who = phone();
    await open('/m');
    expect(app.get('.stage').attributes('data-state')).toBe('idle');
    expect(app.get('.id').text()).toMatch(/^mobile_[a-z2-9]{6}$/);
    expect(app.get('.shutter').text()).toBe('Start');
    expect(api.lists).toBe(0);
    const id = app.get('.id').text();
    app.unmount();
    await open('/m');
    expect(app.get('.id').text()).toBe(id);
  });

  it('takes the name that the link is for', async () => {
    api.who = phone({ cameras: ['kitchen'] });
    await open('/m');
    expect(app.get('.id').text()).toBe('kitchen');
  });

  it('remembers the mode, and says what a failure means', async () => {
    api.who = phone();
    await open('/m');
    await app.get('input[value=snapshot]').setValue(true);
    expect(app.text()).toContain('gentle on the battery');
    vi.stubGlobal('isSecureContext', false);
    await app.get('.shutter').trigger('click');
    expect(app.get('.trouble').text()).toBe('Browsers give the camera to secure pages only.');
    expect(app.get('.shutter').text()).toBe('Try again');
    app.unmount();
    vi.stubGlobal('isSecureContext', true);
    await open('/m');
    expect(app.get<HTMLInputElement>('input[value=snapshot]').element.checked).toBe(true);
  });

  it('says how to get a link', async () => {
    await open('/m');
    expect(app.get('h1').text()).toBe('A link is missing');
    app.unmount();
    api.who = phone({ permissions: ['view'] });
    await open('/m');
    expect(app.text()).toContain('“phone”');
  });

  it('opens without a server', async () => {
    api.who = () => Promise.reject(new UnreachableError(null));
    await open('/m');
    expect(app.find('.shutter').exists()).toBe(true);
  });

  it('leads from a page without encryption to the secure one', async () => {
    vi.stubGlobal('isSecureContext', false);
    answers['/api/connect/secure'] = {
      url: 'https://cam:8443',
      ca: { fingerprint: 'AB:CD', crt: '/api/ca.crt', mobileconfig: '/api/ca.mobileconfig' },
    };
    await open('/m', '#token=a%2Bb');
    await vi.waitFor(() => expect(app.find('.go').exists()).toBe(true));
    expect(app.get('.go').attributes('href')).toBe('https://cam:8443/m?token=a%2Bb');
    expect(asked).toContain('GET https://cam:8443/healthz');
    expect(app.text()).toContain('AB:CD');
    await app.get('input[value=ios]').setValue(true);
    expect(app.get('ol a').attributes('href')).toBe('/api/ca.mobileconfig');
    await app.get('input[value=android]').setValue(true);
    expect(app.get('ol a').attributes('href')).toBe('/api/ca.crt');
  });

  it('does not lead to where the server does not lead', async () => {
    vi.stubGlobal('isSecureContext', false);
    answers['/api/connect/secure'] = { url: 'javascript:alert(1)', ca: null };
    await open('/m');
    await vi.waitFor(() => expect(app.text()).toContain('no secure page'));
    expect(app.find('.go').exists()).toBe(false);
  });

  it('shows a code for a phone, and makes another one', async () => {
    const expires = new Date(Date.now() + 3_600_500).toISOString();
    answers['/api/connect'] = undefined;
    vi.stubGlobal('fetch', (url: string, init: RequestInit = {}) => {
      asked.push(`${init.method ?? 'GET'} ${url} ${String(init.body ?? '')}`.trim());
      return Promise.resolve(
        init.method === 'POST'
          ? Response.json({ url: 'https://cam:8443/m?token=t', urls: ['https://cam:8443/m?token=t'], expires, qr: '<svg></svg>', token: 't' }, { status: 201 })
          : Response.json({ https: true, urls: ['https://cam:8443'], ca: null }),
      );
    });
    await open('/connect');
    await vi.waitFor(() => expect(app.find('.qr img').exists()).toBe(true));
    expect(app.get('.qr img').attributes('src')).toBe('data:image/svg+xml,%3Csvg%3E%3C%2Fsvg%3E');
    expect(app.text()).toContain('60 more minutes');
    expect(app.find('ol').exists()).toBe(false);
    expect(asked).toEqual(['GET /api/connect', 'POST /api/connect {"minutes":60}']);
    await app.get('input[name=camera]').setValue('not valid');
    await app.get('form').trigger('submit');
    expect(asked).toHaveLength(2);
    await app.get('input[name=camera]').setValue('kitchen');
    await app.get('form').trigger('submit');
    expect(asked.at(-1)).toBe('POST /api/connect {"minutes":60,"camera":"kitchen"}');
  });

  it('says why there is no code', async () => {
    answers['/api/connect'] = { https: false, urls: [], ca: null };
    await open('/connect');
    await vi.waitFor(() => expect(app.text()).toContain('HTTPS is off'));
    app.unmount();
    answers['/api/connect'] = Response.json({ error: 'no' }, { status: 403 });
    await open('/connect');
    await vi.waitFor(() => expect(app.text()).toContain('Only administrators'));
  });
});

describe('platform', () => {
  it.each([
    ['Mozilla/5.0 (Linux; Android 14; Pixel 7)', 5, 'android'],
    ['Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)', 5, 'ios'],
    ['Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)', 5, 'ios'],
    ['Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)', 0, 'other'],
    ['Mozilla/5.0 (X11; Linux x86_64)', 0, 'other'],
  ] as const)('%s, %i: %s', (agent, touches, kind) => expect(platform(agent, touches)).toBe(kind));
});
