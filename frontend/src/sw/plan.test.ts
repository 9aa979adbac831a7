import { describe, expect, it } from 'vitest';
import { plan, version } from './plan';

const kept = new Set(['/index.html', '/assets/index-abc.js', '/icon-192.png']);

describe('plan', () => {
  it.each([
    // Pages of the app.
    ['/', true, 'page'],
    ['/m', true, 'page'],
    ['/camera/door', true, 'page'],
    ['/connect?x=1', true, 'page'],
    // Files of the app.
    ['/assets/index-abc.js', false, 'file'],
    ['/icon-192.png', false, 'file'],
    ['/assets/other-def.js', false, 'leave'],
    // A token is the server's business.
    ['/m?token=abc', true, 'leave'],
    // Never kept, however they are asked for.
    ['/api/camera/list', false, 'leave'],
    ['/api/camera/mjpeg/door', true, 'leave'],
    ['/api', true, 'leave'],
    ['/whip/door', false, 'leave'],
    ['/whep/door/session', false, 'leave'],
    ['/whep/door', true, 'leave'],
    ['/door/whep', true, 'leave'],
    ['/healthz', true, 'leave'],
    ['/metrics', true, 'leave'],
    ['/?action=stream', true, 'leave'],
    ['/webcam/?action=snapshot', true, 'leave'],
  ] as const)('%s, navigation %s: %s', (path, navigates, want) => {
    expect(plan(new URL(path, 'https://cam:8443'), 'https://cam:8443', navigates, kept)).toBe(want);
  });

  it('leaves other servers alone', () => {
    expect(plan(new URL('https://other/assets/index-abc.js'), 'https://cam:8443', false, kept)).toBe('leave');
  });
});

describe('version', () => {
  it('changes with every file', () => {
    const files = [
      { url: 'index.html', revision: 'a' },
      { url: 'assets/x-1.js', revision: null },
    ];
    const one = version(files);
    expect(one).toMatch(/^[0-9a-f]{8}$/);
    expect(version([...files])).toBe(one);
    expect(version([{ url: 'index.html', revision: 'b' }, ...files.slice(1)])).not.toBe(one);
    expect(version(files.slice(0, 1))).not.toBe(one);
  });
});
