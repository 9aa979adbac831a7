/** The kinds of device whose steps differ. */
export const PLATFORMS = ['ios', 'android', 'other'] as const;
export type Platform = (typeof PLATFORMS)[number];

/** What this device most likely is. An iPad says it is a Mac, but a Mac has no touch screen. */
export function platform(agent = navigator.userAgent, touches = navigator.maxTouchPoints): Platform {
  if (/android/i.test(agent)) return 'android';
  if (/iphone|ipad|ipod/i.test(agent) || (/macintosh/i.test(agent) && touches > 1)) return 'ios';
  return 'other';
}
