import { flushPromises, mount } from '@vue/test-utils';
import type { VueWrapper } from '@vue/test-utils';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { shallowRef } from 'vue';
import { Api, ApiError, UnreachableError } from '../../api/client';
import { parseEntry } from '../../api/entries';
import type { Entry, EntryChange, UsbCamera } from '../../api/entries';
import { parseCameras } from '../../api/types';
import type { Cameras } from '../../api/watch';
import { SHARED } from '../../cameras';
import { makeI18n } from '../../i18n';
import UsbList from '../UsbList.vue';
import CameraForm from './CameraForm.vue';

const door = parseEntry({ id: 'door', name: 'Door', source: 'rtsp://***@h/s', quality: 75, transport: 'tcp', origin: 'api' }) as Entry;

class FakeApi extends Api {
  sent: EntryChange[] = [];
  refuse: Error | null = null;
  found: UsbCamera[] = [];
  known: Entry[] = [];

  override usb() {
    return Promise.resolve(this.found);
  }

  override entries() {
    return Promise.resolve(this.known);
  }

  override addEntry(entry: EntryChange) {
    return this.#take(entry, { ...entry });
  }

  override changeEntry(id: string, change: EntryChange) {
    return this.#take(change, { ...door, ...change, id });
  }

  #take(sent: EntryChange, entry: object): Promise<Entry> {
    this.sent.push(sent);
    if (this.refuse) return Promise.reject(this.refuse);
    const e = parseEntry(entry);
    return e ? Promise.resolve(e) : Promise.reject(new Error('no entry'));
  }
}

let api: FakeApi;
let app: VueWrapper;

function show(component: typeof CameraForm | typeof UsbList, props: object = {}) {
  const cameras = shallowRef<Cameras>({ list: parseCameras([{ device_id: 'attic' }, { device_id: 'usb_cam_0' }]), loaded: true, link: 'ok', message: '' });
  app = mount(component as typeof CameraForm, {
    props,
    global: {
      plugins: [makeI18n()],
      provide: { [SHARED as symbol]: { api, cameras, session: shallowRef(null), refresh: () => undefined } },
    },
    attachTo: document.body,
  });
}

const field = (label: string) => {
  const found = app.findAll('label').find((l) => l.text().startsWith(label));
  return app.get<HTMLInputElement>(`[id="${found?.attributes('for') ?? 'none'}"]`);
};

/** What stands at a field, in red. */
const complaint = (label: string) => app.get(`[id="${field(label).attributes('id')}-errors"]`).text();

async function submit() {
  await app.get('form').trigger('submit');
  await flushPromises();
}

beforeEach(() => (api = new FakeApi()));
afterEach(() => app.unmount());

describe('CameraForm', () => {
  it('takes a pasted address apart, makes up an id, and sends what was typed', async () => {
    show(CameraForm);
    await field('Address').setValue('rtsp://admin:p@ss@192.168.1.5/s');
    await field('Address').trigger('change');
    expect(field('Address').element.value).toBe('rtsp://192.168.1.5/s');
    expect([field('User').element.value, field('Password').element.value]).toEqual(['admin', 'p@ss']);
    expect(app.text()).toContain('rtsp://admin:••••@192.168.1.5/s');
    await field('Name').setValue('Attic');
    expect(field('Id').element.value).toBe('attic_2');
    await submit();
    expect(api.sent).toEqual([{ id: 'attic_2', name: 'Attic', source: 'rtsp://admin:p%40ss@192.168.1.5/s' }]);
    expect(app.emitted('saved')).toHaveLength(1);
  });

  it('keeps an id that somebody chose', async () => {
    show(CameraForm);
    await field('Id').setValue('mine');
    await field('Name').setValue('Other');
    expect(field('Id').element.value).toBe('mine');
  });

  it('says at the field what is missing, and goes there', async () => {
    show(CameraForm);
    await submit();
    expect(api.sent).toEqual([]);
    expect(complaint('Address')).toBe('Is missing.');
    expect(document.activeElement).toBe(field('Address').element);
    await field('Address').setValue('rtsp://h/s');
    await field('Id').setValue('attic');
    expect(complaint('Address')).toBe('');
    expect(complaint('Id')).toBe('Another camera has it already.');
  });

  it('shows what the server says at the field that it means, until that is mended', async () => {
    api.refuse = new ApiError(422, 'all of it', [
      { field: 'source', message: 'has no host', hint: 'write one' },
      { field: 'fps', message: 'is too much', hint: '' },
      { field: 'nowhere', message: 'is odd', hint: '' },
    ]);
    show(CameraForm);
    await field('Address').setValue('rtsp://');
    await field('Id').setValue('x');
    await submit();
    expect(complaint('Address')).toBe('has no host: write one');
    expect(complaint('Pictures per second')).toBe('is too much');
    expect(app.get('[role=alert]').text()).toContain('nowhere is odd');
    expect(document.activeElement).toBe(field('Address').element);
    await field('Address').setValue('rtsp://h');
    expect(complaint('Address')).toBe('');
  });

  it('says that the server is away, and keeps what was typed', async () => {
    api.refuse = new UnreachableError(null);
    show(CameraForm);
    await field('Address').setValue('rtsp://h');
    await field('Id').setValue('x');
    await submit();
    expect(app.get('[role=alert]').text()).toContain('Camwire does not answer');
    expect(field('Address').element.value).toBe('rtsp://h');
  });

  it('sends of a camera that there is what has changed, and asks for the password with another address', async () => {
    show(CameraForm, { entry: door });
    expect(field('Password').attributes('placeholder')).toBe('unchanged');
    await field('Name').setValue('Gate');
    await submit();
    expect(api.sent).toEqual([{ name: 'Gate' }]);
    await field('Address').setValue('rtsp://other/s');
    await submit();
    expect(api.sent).toHaveLength(1);
    expect(complaint('Password')).toContain('Enter user and password again');
  });
});

describe('UsbList', () => {
  const usb = (more: Partial<UsbCamera>): UsbCamera => ({
    source: 'usb:A', name: 'C920', path: '/dev/video0', resolution: '1280x720', fps: 30, suggestedId: 'usb_cam_0', inUse: false, ...more,
  });

  it('adds a found camera by one click, under an id that is free', async () => {
    api.found = [usb({}), usb({ source: 'usb:B', path: '/dev/video2', name: '' })];
    api.known = [parseEntry({ id: 'other', source: '2' }) as Entry];
    show(UsbList);
    await flushPromises();
    expect(app.findAll('button')).toHaveLength(1);
    expect(app.text()).toContain('Added already');
    await app.get('button').trigger('click');
    await flushPromises();
    expect(api.sent).toEqual([{ id: 'usb_cam_0_2', source: 'usb:A', name: 'C920' }]);
  });

  it('says that there is none, and looks again', async () => {
    show(UsbList);
    await flushPromises();
    expect(app.text()).toContain('No USB camera found.');
    api.found = [usb({})];
    await app.get('button').trigger('click');
    await flushPromises();
    expect(app.text()).toContain('C920');
  });
});
