/** What a camera may be called (the server checks the same). */
const ID = /^[A-Za-z0-9_-]{1,64}$/;

export function validId(id: string): boolean {
  return ID.test(id);
}

/** Letters and digits that are told apart on a small screen. */
const ALPHABET = 'abcdefghjkmnpqrstuvwxyz23456789';

/** A name for this device: mobile_ and six letters or digits. */
export function makeId(random: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array = (b) => crypto.getRandomValues(b)): string {
  let id = 'mobile_';
  while (id.length < 13) {
    for (const byte of random(new Uint8Array(12))) {
      // The last values of a byte would come up more often: leave them out.
      if (byte < 256 - (256 % ALPHABET.length) && id.length < 13) id += ALPHABET[byte % ALPHABET.length] ?? '';
    }
  }
  return id;
}

/** Whether a grant's list of cameras covers an id: empty means all, a * at the end all that begin so. */
export function covers(cameras: readonly string[], id: string): boolean {
  return (
    cameras.length === 0 ||
    cameras.some((c) => (c.endsWith('*') ? id.startsWith(c.slice(0, -1)) : c === id))
  );
}

/** The id to begin with: the remembered one where it may be used, else one that may. */
export function chooseId(remembered: string | null, cameras: readonly string[], make = makeId): string {
  if (remembered !== null && validId(remembered) && covers(cameras, remembered)) return remembered;
  const fresh = make();
  if (covers(cameras, fresh)) return fresh;
  const named = cameras.find((c) => !c.endsWith('*'));
  if (named) return named;
  // Some other beginning is asked for.
  const prefix = cameras[0]?.slice(0, -1) ?? '';
  return (prefix + fresh.slice('mobile_'.length)).slice(-64);
}
