import { flushPromises, mount } from '@vue/test-utils';
import type { VueWrapper } from '@vue/test-utils';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { shallowRef } from 'vue';
import { parseTokens, parseUsers } from '../../api/accounts';
import type { Grant, Token, User } from '../../api/accounts';
import { Api, ApiError } from '../../api/client';
import { NOTHING } from '../../api/watch';
import { SHARED } from '../../cameras';
import { makeI18n } from '../../i18n';
import TokensPanel from './TokensPanel.vue';
import UsersPanel from './UsersPanel.vue';

class FakeApi extends Api {
  said: unknown[] = [];
  refuse: Error | null = null;

  override users(): Promise<User[]> {
    return Promise.resolve(parseUsers([{ name: 'anna', permissions: ['view'], cameras: ['door'] }]));
  }

  override tokens(): Promise<Token[]> {
    return Promise.resolve(parseTokens([{ id: '1', name: 'Wall', permissions: ['view'], cameras: [], expires: null, last_used: null }]));
  }

  override addUser(name: string, password: string, grant: Grant) {
    return this.#note('addUser', name, password, grant.permissions, grant.cameras);
  }

  override changePassword(name: string, password: string) {
    return this.#note('changePassword', name, password);
  }

  override removeUser(name: string) {
    return this.#note('removeUser', name);
  }

  override async addToken(name: string, grant: Grant, expires: Date | null) {
    await this.#note('addToken', name, grant.permissions, grant.cameras, expires === null);
    return { id: '2', secret: 'cw_secret' };
  }

  override removeToken(id: string) {
    return this.#note('removeToken', id);
  }

  #note(...what: unknown[]): Promise<void> {
    this.said.push(what);
    return this.refuse ? Promise.reject(this.refuse) : Promise.resolve();
  }
}

let api: FakeApi;
let app: VueWrapper;

beforeEach(() => {
  api = new FakeApi();
  HTMLDialogElement.prototype.showModal ??= function (this: HTMLDialogElement) {
    this.open = true;
  };
});
afterEach(() => app.unmount());

async function show(component: typeof UsersPanel | typeof TokensPanel) {
  app = mount(component, {
    global: {
      plugins: [makeI18n()],
      provide: { [SHARED as symbol]: { api, cameras: shallowRef(NOTHING), session: shallowRef(null), refresh: () => undefined } },
    },
    attachTo: document.body,
  });
  await flushPromises();
}

async function press(words: string) {
  const button = app.findAll('button').find((b) => b.text().startsWith(words));
  if (!button) throw new Error(`no button "${words}"`);
  await (button.attributes('type') === 'submit' ? app.get('form').trigger('submit') : button.trigger('click'));
  await flushPromises();
}

const input = (label: string) => {
  const found = app.findAll('label').find((l) => l.text().startsWith(label));
  return app.get(`[id="${found?.attributes('for') ?? 'none'}"]`);
};

describe('UsersPanel', () => {
  it('adds somebody with rights, and not without a password', async () => {
    await show(UsersPanel);
    expect(app.text()).toContain('watch: door');
    await press('Add a user');
    await input('Name').setValue('ben');
    await press('Add a user');
    expect(api.said).toEqual([]);
    await input('New password').setValue('long enough');
    await input('Only these cameras').setValue('door, mobile_*');
    await app.get('input[value=publish]').setValue(true);
    await press('Add a user');
    expect(api.said).toEqual([['addUser', 'ben', 'long enough', ['view', 'publish'], ['door', 'mobile_*']]]);
    expect(app.find('form').exists()).toBe(false);
  });

  it('changes a password, and says the words of the server when it may not', async () => {
    await show(UsersPanel);
    await press('Change password');
    api.refuse = new ApiError(400, 'too simple');
    await input('New password').setValue('long enough');
    await press('Save');
    expect(app.text()).toContain('too simple');
    api.refuse = null;
    await press('Save');
    expect(api.said.at(-1)).toEqual(['changePassword', 'anna', 'long enough']);
    expect(app.text()).toContain('The password of anna is changed.');
  });

  it('asks before it removes somebody', async () => {
    await show(UsersPanel);
    await press('Remove');
    expect(api.said).toEqual([]);
    await app.get('dialog .danger').trigger('click');
    await flushPromises();
    expect(api.said).toEqual([['removeUser', 'anna']]);
    expect(app.find('dialog').exists()).toBe(false);
  });
});

describe('TokensPanel', () => {
  it('shows the secret of a new token until it is taken, and never again', async () => {
    await show(TokensPanel);
    await press('Make a token');
    await press('Make a token');
    expect(app.text()).toContain('Is missing.');
    await input('What is it for?').setValue('Home Assistant');
    await input('Valid for').setValue('0');
    await press('Make a token');
    expect(api.said).toEqual([['addToken', 'Home Assistant', ['view'], [], true]]);
    expect(app.findAll('pre').map((p) => p.text())).toEqual(['cw_secret', `${location.origin}/?token=cw_secret`]);
    await press('I have it');
    expect(app.html()).not.toContain('cw_secret');
  });

  it('asks before it takes one back', async () => {
    await show(TokensPanel);
    await press('Remove');
    await app.get('dialog .danger').trigger('click');
    await flushPromises();
    expect(api.said).toEqual([['removeToken', '1']]);
  });
});
