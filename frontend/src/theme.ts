/** How the pages look: as the system does, or as somebody has chosen. */
export const THEMES = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

const KEY = 'camwire.theme';

/** The remembered choice; auto for none. */
export function theme(): Theme {
  try {
    const kept = localStorage.getItem(KEY);
    return THEMES.find((t) => t === kept) ?? 'auto';
  } catch {
    return 'auto';
  }
}

export function rememberTheme(chosen: Theme): void {
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
  show(chosen);
}

/** Follows the choice and, where there is none, the system. Called once. */
export function applyTheme(): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => show(theme()));
  // Another tab of the same browser may change it.
  addEventListener('storage', (event) => event.key === KEY && show(theme()));
  show(theme());
}

function show(chosen: Theme): void {
  const dark = chosen === 'dark' || (chosen === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset['theme'] = dark ? 'dark' : 'light';
  // The bar of a phone's browser takes the colour of the page.
  const ground = getComputedStyle(document.documentElement).getPropertyValue('--ground').trim();
  for (const meta of document.querySelectorAll<HTMLMetaElement>('meta[name="theme-color"]')) {
    if (ground) meta.content = ground;
  }
}
