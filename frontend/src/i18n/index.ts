import { createI18n } from 'vue-i18n';
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

/** English is always there, for what falls back to it; the others come when they are wanted. */
const OTHERS: Readonly<Record<Exclude<Locale, 'en'>, () => Promise<Messages>>> = {
  de: async () => (await import('./de')).de,
};

/** In English until loadLocale has been called. */
export function makeI18n() {
  return createI18n<[Messages], 'en', false>({ legacy: false, locale: 'en', fallbackLocale: 'en', messages: { en } });
}

/** What vue-i18n has of the pages' language, as far as it is needed here. */
export interface Languages {
  readonly locale: { value: string };
  readonly availableLocales: readonly string[];
  setLocaleMessage(locale: string, messages: Messages): void;
}

/** Switches the language when its messages are there; default: the one that the browser wants. */
export async function loadLocale(languages: Languages, locale = chooseLocale(recall(), navigator.languages)): Promise<void> {
  if (locale !== 'en' && !languages.availableLocales.includes(locale)) {
    try {
      languages.setLocaleMessage(locale, await OTHERS[locale]());
    } catch {
      // The server is away. English is better than nothing.
      return;
    }
  }
  languages.locale.value = locale;
  document.documentElement.lang = locale;
}

export function rememberLocale(locale: Locale): void {
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
