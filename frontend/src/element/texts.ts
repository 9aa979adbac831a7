import type { PlayerState } from '../player';

/** The few words of the element; the pages have their own. */
const en = {
  state: {
    connecting: 'Connecting',
    live: 'Live',
    stalled: 'Not moving',
    lost: 'No connection',
    failed: 'Not working',
  } satisfies Record<PlayerState, string>,
  nothing: 'No camera is named.',
  picture: 'Camera {camera}',
  live: 'Live',
  snap: 'Still pictures',
  soundOn: 'Sound on',
  soundOff: 'Sound off',
  fullScreen: 'Full screen',
  whole: 'Whole picture',
};

type Texts = typeof en;

const de: Texts = {
  state: {
    connecting: 'Verbindet',
    live: 'Live',
    stalled: 'Steht still',
    lost: 'Keine Verbindung',
    failed: 'Geht nicht',
  },
  nothing: 'Es ist keine Kamera genannt.',
  picture: 'Kamera {camera}',
  live: 'Live',
  snap: 'Einzelbilder',
  soundOn: 'Ton an',
  soundOff: 'Ton aus',
  fullScreen: 'Vollbild',
  whole: 'Ganzes Bild',
};

/** The words in the language of the place where the element stands. */
export function textsFor(element: Element): Texts {
  const language = element.closest('[lang]')?.getAttribute('lang') || navigator.language;
  return /^de\b/i.test(language) ? de : en;
}
