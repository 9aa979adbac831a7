/** What the service worker does with a request. */
export type Plan =
  | 'page' // a page of the app: the server's, and the kept one where there is no server
  | 'file' // a file of the app: the kept one
  | 'leave'; // none of our business: as if there were no service worker

/** What is no page although a browser can open it. Media, signaling and the API are never kept. */
const NO_PAGE = /^\/(api|whip|whep|healthz|readyz|metrics|webcam)(\/|$)|\/(whip|whep)(\/|$)/;

/**
 * Decides about a GET by its address. Kept are the paths of the app's files.
 * A link with a token has to reach the server, which makes a session of it;
 * "?action=" is how old clients ask for pictures.
 */
export function plan(url: URL, origin: string, navigates: boolean, kept: ReadonlySet<string>): Plan {
  if (url.origin !== origin) return 'leave';
  if (!navigates) return kept.has(url.pathname) ? 'file' : 'leave';
  if (NO_PAGE.test(url.pathname) || url.searchParams.has('token') || url.searchParams.has('action')) return 'leave';
  return 'page';
}

/** A name for a set of files that changes with each of them (FNV-1a, 32 bits). */
export function version(files: readonly { readonly url: string; readonly revision: string | null }[]): string {
  let hash = 0x811c9dc5;
  for (const { url, revision } of files) {
    for (const c of `${url} ${revision ?? ''}\n`) {
      hash = Math.imul(hash ^ (c.codePointAt(0) ?? 0), 0x01000193);
    }
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}
