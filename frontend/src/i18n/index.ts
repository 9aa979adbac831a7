import { createI18n } from 'vue-i18n';
import { de } from './de';
import { en } from './en';
import type { Messages } from './en';

export const LOCALES = { en: 'English', de: 'Deutsch' } as const;
export type Locale = keyof typeof LOCALES;

const KEY = 'camwire.locale';

/** The language of the pages: the remembered one, else the browser's, else English. */
export function chooseLocale(remembered: string | null, wanted: readonly string[]): Locale {
  for (const tag of [remembered ?? '', ...wanted]) {
    const language = tag.toLowerCase().split('-')[0] ?? '';
    if (Object.hasOwn(LOCALES, language)) return language as Locale;
  }
  return 'en';
}

export function makeI18n() {
  const locale = chooseLocale(recall(), navigator.languages);
  document.documentElement.lang = locale;
  return createI18n<[Messages], Locale, false>({
    legacy: false,
    locale,
    fallbackLocale: 'en',
    messages: { en, de },
  });
}

/** Remembers the choice and tells the browser, for pronunciation and hyphenation. */
export function rememberLocale(locale: Locale): void {
  document.documentElement.lang = locale;
  try {
    localStorage.setItem(KEY, locale);
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
}

function recall(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
