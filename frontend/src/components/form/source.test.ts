import { describe, expect, it } from 'vitest';
import { idFrom, isId, joinAddress, joinCamwire, kindOf, showAddress, splitAddress, splitCamwire } from './source';

describe('kindOf', () => {
  it.each([
    ['0', 'usb'],
    ['/dev/video0', 'usb'],
    ['usb:C920', 'usb'],
    ['rtsps://h/s', 'ip'],
    ['http://h/v.mjpeg', 'ip'],
    ['whep:https://h/whep/a', 'camwire'],
    ['watch:/d', 'pictures'],
    ['test:?width=64', 'test'],
    ['exec:x (arguments: 1)', 'other'],
    ['', 'other'],
  ])('%s: %s', (source, kind) => expect(kindOf(source)).toBe(kind));
});

describe('splitAddress', () => {
  it.each([
    ['rtsp://192.168.1.5/s', 'rtsp://192.168.1.5/s', '', ''],
    [' rtsp://admin:secret@192.168.1.5:554/s?a=b@c ', 'rtsp://192.168.1.5:554/s?a=b@c', 'admin', 'secret'],
    ['rtsp://admin:p%40ss@h/s', 'rtsp://h/s', 'admin', 'p@ss'],
    ['rtsp://admin:p@ss@h/s', 'rtsp://h/s', 'admin', 'p@ss'],
    ['rtsp://admin:pa/s#s@h/s', 'rtsp://h/s', 'admin', 'pa/s#s'],
    ['rtsp://admin:100%@h/s', 'rtsp://h/s', 'admin', '100%'],
    ['rtsp://admin@h/s', 'rtsp://h/s', 'admin', ''],
    ['admin:x@192.168.1.5', '192.168.1.5', 'admin', 'x'],
    ['http://[fe80::1]:81/stream', 'http://[fe80::1]:81/stream', '', ''],
    ['http://h:81/to@me', 'http://h:81/to@me', '', ''],
    ['http://[fe80::1]/to@me', 'http://[fe80::1]/to@me', '', ''],
    ['', '', '', ''],
  ])('%s', (typed, url, user, password) => {
    expect(splitAddress(typed)).toEqual({ url, user, password });
  });
});

describe('joinAddress', () => {
  it('escapes what would end user or password, and nothing of the rest', () => {
    expect(joinAddress({ url: 'rtsp://h/s?a=b', user: 'me@home', password: "a:b/c?d#e%f g'(!)*" })).toBe(
      'rtsp://me%40home:a%3Ab%2Fc%3Fd%23e%25f%20g%27%28%21%29%2A@h/s?a=b',
    );
    expect(joinAddress({ url: ' rtsp://h/s ', user: '', password: '' })).toBe('rtsp://h/s');
    expect(joinAddress({ url: 'rtsp://h/s', user: 'me', password: '' })).toBe('rtsp://me@h/s');
    expect(joinAddress({ url: '192.168.1.5', user: '', password: 'x' })).toBe('rtsp://:x@192.168.1.5');
    expect(joinAddress({ url: '', user: 'a', password: 'b' })).toBe('');
  });

  it('gives back what was split', () => {
    for (const password of ['p@ss', 'a/b', '#', '100%', 'ü€', ' ', ':', '%41']) {
      const address = { url: 'rtsp://h:554/s', user: 'u@x', password };
      expect(splitAddress(joinAddress(address))).toEqual(address);
    }
  });
});

describe('showAddress', () => {
  it('shows no password', () => {
    expect(showAddress({ url: 'rtsp://h/s', user: 'me@x', password: 'secret' })).toBe('rtsp://me@x:••••@h/s');
    expect(showAddress({ url: 'h/s', user: '', password: '' })).toBe('rtsp://h/s');
    expect(showAddress({ url: 'rtsp://h/s', user: '', password: 'x' })).toBe('rtsp://:••••@h/s');
  });
});

describe('another Camwire', () => {
  it('is an address, a camera and a token', () => {
    expect(joinCamwire('https://b.example:8443/', 'door', 'cw_x')).toBe('whep:https://camwire:cw_x@b.example:8443/whep/door');
    expect(joinCamwire('b.example:8443', 'door', '')).toBe('whep:https://b.example:8443/whep/door');
    expect(joinCamwire(' ', 'door', '')).toBe('');
    expect(splitCamwire('whep:https://camwire:cw_x@b.example:8443/whep/door')).toEqual({ server: 'https://b.example:8443', camera: 'door', token: 'cw_x' });
    expect(splitCamwire('whep:https://***@b/x')).toEqual({ server: 'https://b/x', camera: '', token: '' });
  });
});

describe('idFrom', () => {
  it.each([
    ['Front door', 'front_door'],
    ['  Küche (süd) ', 'kueche_sued'],
    ['Élan 2', 'elan_2'],
    ['???', 'camera'],
    ['Attic', 'attic_3'],
    ['x'.repeat(90), 'x'.repeat(56)],
  ])('%s: %s', (name, id) => {
    expect(idFrom(name, new Set(['attic', 'attic_2']))).toBe(id);
    expect(isId(id)).toBe(true);
  });

  it('is no id with anything else in it', () => {
    expect(['', 'a b', 'ä', 'x'.repeat(65), 'a/b'].some(isId)).toBe(false);
  });
});
