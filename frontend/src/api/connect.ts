import { errorText } from '../player/http';
import { ApiError, UnreachableError } from './client';
import { isObject, moment, text, texts } from './json';

/** The certificate authority that a phone is to trust. */
export interface Authority {
  /** SHA-256 as phones show it: "AB:CD:…". */
  readonly fingerprint: string;
  /** Addresses of the certificate and of the profile for iOS. */
  readonly crt: string;
  readonly mobileconfig: string;
}

/** Where this server is secure. */
export interface Secure {
  /** Scheme, host and port, null where it is not. */
  readonly url: string | null;
  /** Null where there is nothing to install. */
  readonly ca: Authority | null;
}

/** A link that makes a camera of a phone. */
export interface PhoneLink {
  /** The best address of the secure page, and all of them. */
  readonly url: string;
  readonly urls: readonly string[];
  readonly expires: Date | null;
  /** An <svg> element as text. */
  readonly qr: string;
}

/** Where the page that is open now is secure. */
export async function loadSecure(): Promise<Secure> {
  return parseSecure(await ask('/api/connect/secure'));
}

/** What an administrator is told: whether phones can come at all, and what they have to trust. */
export async function loadConnect(): Promise<{ https: boolean; urls: readonly string[]; ca: Authority | null }> {
  const v = await ask('/api/connect');
  return isObject(v)
    ? { https: v['https'] === true, urls: texts(v['urls']), ca: parseAuthority(v['ca']) }
    : { https: false, urls: [], ca: null };
}

/** Makes a link; camera is '' for whatever name the phone makes up. */
export async function makeLink(camera: string, minutes: number): Promise<PhoneLink> {
  const link = parsePhoneLink(
    await ask('/api/connect', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ minutes, ...(camera && { camera }) }),
    }),
  );
  if (!link) throw new UnreachableError('the answer is not of Camwire');
  return link;
}

/** An answer takes no longer than this (ms), or it does not come. */
const TIMEOUT = 10_000;

async function ask(path: string, init: RequestInit = {}): Promise<unknown> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), TIMEOUT);
  try {
    const response = await fetch(path, { cache: 'no-store', ...init, signal: abort.signal });
    if (!response.ok) throw new ApiError(response.status, await errorText(response));
    return (await response.json()) as unknown;
  } catch (err) {
    throw err instanceof ApiError ? err : new UnreachableError(err);
  } finally {
    clearTimeout(timer);
  }
}

export function parseAuthority(value: unknown): Authority | null {
  if (!isObject(value)) return null;
  const crt = localPath(value['crt']);
  const mobileconfig = localPath(value['mobileconfig']);
  return crt && mobileconfig ? { fingerprint: text(value['fingerprint']), crt, mobileconfig } : null;
}

export function parseSecure(value: unknown): Secure {
  if (!isObject(value)) return { url: null, ca: null };
  const url = text(value['url']);
  return { url: url.startsWith('https://') ? url : null, ca: parseAuthority(value['ca']) };
}

export function parsePhoneLink(value: unknown): PhoneLink | null {
  if (!isObject(value)) return null;
  const url = text(value['url']);
  const qr = text(value['qr']);
  if (!url || !qr) return null;
  return { url, urls: texts(value['urls']), expires: moment(value['expires']), qr };
}

function localPath(value: unknown): string {
  const path = text(value);
  return path.startsWith('/') && !path.startsWith('//') ? path : '';
}
