import { describe, expect, it } from 'vitest';
import { camerasOf, grantLines } from './grant';

describe('camerasOf', () => {
  it('takes commas, blanks and both', () => {
    expect(camerasOf(' door, mobile_*;attic  door\n')).toEqual(['door', 'mobile_*', 'attic']);
    expect(camerasOf(' , ')).toEqual([]);
  });
});

describe('grantLines', () => {
  const words = { permission: (p: string) => p, all: 'all', line: (what: string, cameras: string) => `${what}: ${cameras}` };
  it('says what goes with which cameras', () => {
    expect(grantLines({ permissions: ['view'], cameras: [], also: [{ permissions: ['publish'], cameras: ['a', 'b*'], also: [] }] }, words)).toEqual([
      'view: all',
      'publish: a, b*',
    ]);
    expect(grantLines({ permissions: ['view', 'admin'], cameras: ['a'], also: [] }, words)).toEqual(['admin: a']);
    expect(grantLines({ permissions: [], cameras: [], also: [] }, words)).toEqual([]);
  });
});
