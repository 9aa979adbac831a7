import { makeId, validId } from '../phone/device';

/** The name under which this screen sends its own camera: given in the address, else made up once and remembered. */

const KEY = 'camwire.portal';

/** Returns '' for a name that no camera can have. */
export function portalId(given: unknown, storage: Pick<Storage, 'getItem' | 'setItem'> | null = store()): string {
  if (typeof given === 'string' && given !== '') return validId(given) ? given : '';
  const kept = read(storage);
  if (kept !== null && validId(kept)) return kept;
  const made = makeId().replace(/^mobile_/, 'portal_');
  try {
    storage?.setItem(KEY, made);
  } catch {
    // Without storage the name lasts as long as the page.
  }
  return made;
}

function read(storage: Pick<Storage, 'getItem'> | null): string | null {
  try {
    return storage?.getItem(KEY) ?? null;
  } catch {
    return null;
  }
}

function store(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}
