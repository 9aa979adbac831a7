import { describe, expect, it, vi } from 'vitest';
import { gestures } from './gestures';
import { LARGEST, WHOLE, byKey, pan, toggle, transformOf, within, zoomAt } from './zoom';
import type { View } from './zoom';

describe('zoom', () => {
  it('keeps the point under the pointer where it is', () => {
    let view = WHOLE;
    const seen = (v: View, p: number) => v.x + (p - 0.5) / v.zoom;
    for (const zoom of [2, 5, 3]) {
      const before = seen(view, 0.6);
      view = zoomAt(view, zoom, 0.6, 0.5);
      expect(seen(view, 0.6)).toBeCloseTo(before);
    }
    expect(zoomAt(view, 1, 0.6, 0.5)).toEqual(WHOLE);
  });

  it('never leaves the picture, nor its limits', () => {
    expect(zoomAt(WHOLE, 99)).toMatchObject({ zoom: LARGEST });
    expect(zoomAt(WHOLE, 0.1)).toEqual(WHOLE);
    expect(pan(zoomAt(WHOLE, 2), 9, -9)).toEqual({ zoom: 2, x: 0.25, y: 0.75 });
    expect(pan(WHOLE, 1, 1)).toEqual(WHOLE);
  });

  it('takes nothing that is no view', () => {
    expect(within({ zoom: NaN, x: 'a', y: undefined })).toEqual(WHOLE);
    expect(within({ zoom: 4, x: -3, y: 0.5 })).toEqual({ zoom: 4, x: 0.125, y: 0.5 });
  });

  it('goes close and back', () => {
    const close = toggle(WHOLE, 1, 0);
    expect(close.zoom).toBeGreaterThan(2);
    expect(toggle(close, 0.5, 0.5)).toEqual(WHOLE);
  });

  it('knows its keys', () => {
    const close = byKey(WHOLE, '+') ?? WHOLE;
    expect(close.zoom).toBeCloseTo(1.25);
    expect(byKey(close, '-')).toEqual(WHOLE);
    expect(byKey(close, 'ArrowRight')?.x).toBeGreaterThan(0.5);
    expect(byKey(close, '0')).toEqual(WHOLE);
    expect(byKey(WHOLE, 'ArrowLeft')).toBeNull();
    expect(byKey(WHOLE, '0')).toBeNull();
    expect(byKey(WHOLE, 'x')).toBeNull();
  });

  it('says it in CSS', () => {
    expect(transformOf(WHOLE)).toBe('none');
    expect(transformOf({ zoom: 2, x: 0.25, y: 0.75 })).toBe('translate(0.000%, -100.000%) scale(2.0000)');
  });
});

describe('gestures', () => {
  function stage(wheel: 'always' | 'ctrl' = 'always') {
    const element = document.createElement('div');
    element.getBoundingClientRect = () => ({ left: 100, top: 0, width: 400, height: 200 }) as DOMRect;
    element.setPointerCapture = vi.fn();
    element.hasPointerCapture = () => true;
    let view: View = WHOLE;
    const off = gestures(element, { view: () => view, change: (v) => (view = v), wheel });
    const point = (type: string, id: number, x: number, y: number) =>
      element.dispatchEvent(Object.assign(new Event(type), { pointerId: id, clientX: x, clientY: y, button: 0 }));
    const turn = (deltaY: number, ctrlKey = false) => {
      const e = Object.assign(new Event('wheel', { cancelable: true }), {
        deltaY,
        deltaMode: 0,
        ctrlKey,
        clientX: 300,
        clientY: 100,
      });
      element.dispatchEvent(e);
      return e.defaultPrevented;
    };
    return { element, off, point, turn, view: () => view };
  }

  it('zooms by the wheel, and lets a page scroll', () => {
    const s = stage();
    expect(s.turn(-400)).toBe(true);
    expect(s.view().zoom).toBeCloseTo(2);
    const part = stage('ctrl');
    expect(part.turn(-400)).toBe(false);
    expect(part.view()).toEqual(WHOLE);
    expect(part.turn(-100, true)).toBe(true);
    expect(part.view().zoom).toBeCloseTo(2);
  });

  it('drags what is larger than the stage', () => {
    const s = stage();
    s.turn(-400);
    s.point('pointerdown', 1, 300, 100);
    s.point('pointermove', 1, 340, 100);
    expect(s.view().x).toBeCloseTo(0.45);
    s.point('pointerup', 1, 340, 100);
    s.point('pointermove', 1, 400, 100);
    expect(s.view().x).toBeCloseTo(0.45);
  });

  it('pinches with two fingers', () => {
    const s = stage();
    s.point('pointerdown', 1, 250, 100);
    s.point('pointerdown', 2, 350, 100);
    s.point('pointermove', 2, 450, 100);
    expect(s.view().zoom).toBeCloseTo(2);
    s.point('pointermove', 1, 150, 100);
    expect(s.view().zoom).toBeCloseTo(3);
    expect(s.view().x).toBeCloseTo(0.5);
  });

  it('goes close by a double click, but not upon a button', () => {
    const s = stage();
    const button = document.createElement('button');
    s.element.append(button);
    button.dispatchEvent(new MouseEvent('dblclick', { bubbles: true }));
    expect(s.view()).toEqual(WHOLE);
    s.element.dispatchEvent(new MouseEvent('dblclick', { clientX: 300, clientY: 100 }));
    expect(s.view().zoom).toBeGreaterThan(2);
    s.off();
    s.element.dispatchEvent(new MouseEvent('dblclick', { clientX: 300, clientY: 100 }));
    expect(s.view().zoom).toBeGreaterThan(2);
  });
});
