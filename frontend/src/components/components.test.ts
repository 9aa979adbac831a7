import { mount } from '@vue/test-utils';
import { describe, expect, it } from 'vitest';
import { parseCameras } from '../api/types';
import { makeI18n } from '../i18n';
import StatusLine from './StatusLine.vue';
import { display, explain } from './display';
import { pictureName } from './save';

describe('display', () => {
  const [lost] = parseCameras([{ device_id: 'a', state: 'lost', error: 'unplugged' }]);
  const [off] = parseCameras([{ device_id: 'a', state: 'disabled' }]);

  it('takes the word of the player where one runs, else that of the list', () => {
    expect(display(lost, null)).toEqual({ state: 'lost', reason: { code: 'camera', detail: 'unplugged' } });
    expect(display(lost, { state: 'live', rung: 'webrtc' })).toEqual({ state: 'live' });
    expect(display(off, { state: 'live', rung: 'webrtc' })).toEqual({ state: 'disabled' });
    expect(display(undefined, null)).toEqual({ state: 'connecting' });
  });
});

describe('explain', () => {
  const sentence = (code: string) => `<${code}>`;

  it('lets the server speak where it says it all', () => {
    expect(explain(undefined, sentence)).toEqual([]);
    expect(explain({ code: 'ice' }, sentence)).toEqual(['<ice>']);
    expect(explain({ code: 'camera', detail: 'unplugged' }, sentence)).toEqual(['unplugged']);
    expect(explain({ code: 'decode', detail: 'bad SDP' }, sentence)).toEqual(['<decode>', 'bad SDP']);
  });
});

describe('pictureName', () => {
  it('sorts by time and has no odd characters', () => {
    expect(pictureName('a/b', new Date(2026, 2, 1, 7, 5, 9))).toBe('a_b_2026-03-01_07-05-09.jpg');
  });
});

describe('StatusLine', () => {
  it('says how the picture comes, and why, and nothing that is not known', () => {
    const line = mount(StatusLine, {
      props: {
        status: { state: 'live', rung: 'mjpeg', why: { code: 'ice' } },
        stats: { delay: 41.6, codec: 'JPEG', width: 1280, height: 720, fps: 9.96, bitrate: 17_240_000 },
      },
      global: { plugins: [makeI18n()] },
    });
    expect(line.findAll('dd').map((d) => d.text())).toEqual(['MJPEG', '42 ms', 'JPEG', '1280×720', '10 fps', '17.2 Mbit/s']);
    expect(line.get('.why').text()).toBe('The network lets no video packets through.');
    const bare = mount(StatusLine, { props: { status: null, stats: {} }, global: { plugins: [makeI18n()] } });
    expect(bare.text()).toBe('');
  });
});
