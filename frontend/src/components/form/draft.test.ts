import { describe, expect, it } from 'vitest';
import { parseEntry } from '../../api/entries';
import type { Entry } from '../../api/entries';
import { changeOf, check, draftOf, draftOfUsb, newDraft, sourceOf } from './draft';

function entry(source: string, more: object = {}): Entry {
  const e = parseEntry({ id: 'door', name: 'Door', source, quality: 80, transport: 'tcp', enabled: true, origin: 'api', ...more });
  if (!e) throw new Error('no entry');
  return e;
}

const nobody = new Set<string>();

describe('a new camera', () => {
  it('is sent with what is set, and nothing else', () => {
    const draft = newDraft('ip');
    draft.id = 'door';
    draft.name = ' Front door ';
    draft.address = { url: 'rtsp://h/s', user: 'me', password: 'p@ss' };
    draft.fps = '7,5';
    expect(check(draft, null, nobody)).toEqual({});
    expect(changeOf(draft, null)).toEqual({ id: 'door', name: 'Front door', source: 'rtsp://me:p%40ss@h/s', fps: 7.5 });
  });

  it('is complained about where something is missing', () => {
    expect(check(newDraft('ip'), null, nobody)).toEqual({ source: 'missing', id: 'missing' });
    const draft = { ...newDraft('test'), id: 'a b', fps: 'ten', quality: '-1' };
    expect(check(draft, null, nobody)).toEqual({ id: 'badId', fps: 'number', quality: 'number' });
    expect(check({ ...newDraft('test'), id: 'door' }, null, new Set(['door']))).toEqual({ id: 'taken' });
  });

  it.each([
    [{ kind: 'usb', usb: 'usb:C920' }, 'usb:C920'],
    [{ kind: 'camwire', server: 'https://b:8443', camera: 'door', token: 'x' }, 'whep:https://camwire:x@b:8443/whep/door'],
    [{ kind: 'camwire', server: 'https://b:8443' }, ''],
    [{ kind: 'pictures', folder: { path: '/d/*.jpg', newest: false } }, 'images:/d/*.jpg'],
    [{ kind: 'pictures', folder: { path: ' /d ', newest: true } }, 'watch:/d'],
    [{ kind: 'test', test: '?width=320' }, 'test:?width=320'],
    [{ kind: 'other', other: ' 3 ' }, '3'],
  ] as const)('%j: %s', (part, source) => {
    expect(sourceOf({ ...newDraft(part.kind), ...part })).toBe(source);
  });

  it('comes from a USB camera with an id that is free', () => {
    const usb = { source: 'usb:1', name: 'C920', path: '/dev/video0', resolution: '', fps: 0, suggestedId: 'usb_cam_0', inUse: false };
    expect(changeOf(draftOfUsb(usb, new Set(['usb_cam_0'])), null)).toEqual({ id: 'usb_cam_0_2', name: 'C920', source: 'usb:1' });
  });
});

describe('a camera that there is', () => {
  it('is left alone when nothing was touched', () => {
    for (const source of ['0', 'rtsp://***@h/s', 'http://h/v?usr=***', 'whep:https://***@b/whep/x', 'images:/d/*.jpg', 'test:', 'exec:x (arguments: 2)']) {
      const e = entry(source, { fps: 5 });
      expect(check(draftOf(e), e, nobody)).toEqual({});
      expect(changeOf(draftOf(e), e)).toEqual({});
    }
  });

  it('is sent with what differs', () => {
    const e = entry('rtsp://***@h/s', { fps: 5 });
    const draft = { ...draftOf(e), name: 'Gate', fps: '', transport: 'udp', onDemand: true };
    expect(changeOf(draft, e)).toEqual({ name: 'Gate', fps: 0, transport: 'udp', on_demand: true });
  });

  it('needs its password again with another address', () => {
    const e = entry('rtsp://***@h/s');
    const draft = draftOf(e);
    draft.address = { ...draft.address, url: 'rtsp://other/s' };
    expect(check(draft, e, nobody)).toEqual({ secret: 'again' });
    draft.address = { url: 'rtsp://other/s', user: 'me', password: 'x' };
    expect(check(draft, e, nobody)).toEqual({});
    expect(changeOf(draft, e)).toEqual({ source: 'rtsp://me:x@other/s' });
  });

  it('needs a secret in the query again as well', () => {
    const e = entry('http://h/v?usr=***');
    const draft = draftOf(e);
    draft.address = { ...draft.address, url: 'http://other/v?usr=***' };
    expect(check(draft, e, nobody)).toEqual({ secret: 'again' });
  });

  it('may become another kind', () => {
    const e = entry('rtsp://***@h/s');
    const draft = { ...draftOf(e), kind: 'test' as const };
    expect(check(draft, e, nobody)).toEqual({});
    expect(changeOf(draft, e)).toEqual({ source: 'test:' });
  });
});
