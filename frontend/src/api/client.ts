import { errorText } from '../player/http';
import { parseNewToken, parseSession, parseTokens, parseUsers } from './accounts';
import type { Grant, NewToken, Session, Token, User } from './accounts';
import { parseEntries, parseEntry, parseProblems, parseUsb } from './entries';
import type { Entry, EntryChange, Problem, UsbCamera } from './entries';
import { isObject, text } from './json';
import { parseCameras } from './types';
import type { Camera } from './types';

/** The server answered, and it was no. The message is in its own words. */
export class ApiError extends Error {
  readonly status: number;
  /** What is wrong field by field, where the server tells. */
  readonly problems: readonly Problem[];

  constructor(status: number, message: string, problems: readonly Problem[] = []) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.problems = problems;
  }
}

/** Nobody answered. */
export class UnreachableError extends Error {
  constructor(cause: unknown) {
    super('the server does not answer', { cause });
    this.name = 'UnreachableError';
  }
}

/** An answer takes no longer than this (ms), or it does not come. */
const TIMEOUT = 10_000;

/** The HTTP API as far as the pages use it. */
export class Api {
  readonly #base: string;

  /** The base is '' for the server that the page came from. */
  constructor(base = '') {
    this.#base = base.replace(/\/+$/, '');
  }

  /** All cameras, sorted as the server sorts them. */
  async cameras(): Promise<Camera[]> {
    const response = await this.#request('/api/camera/list');
    return parseCameras(await json(response));
  }

  /** Trades a token for a session cookie. Throws ApiError 401 for a wrong one. */
  async signIn(token: string): Promise<void> {
    await this.#send('POST', '/api/session', { token });
  }

  /** Trades name and password for a session cookie. Throws ApiError 401 when they do not fit. */
  async signInAs(user: string, password: string): Promise<void> {
    await this.#send('POST', '/api/session', { user, password });
  }

  /** Ends the session of this browser. */
  async signOut(): Promise<void> {
    await this.#send('DELETE', '/api/session');
  }

  /** The version of Camwire, '' where it does not tell. */
  async version(): Promise<string> {
    try {
      const body = await json(await this.#request('/api/session'));
      return isObject(body) ? text(body['version']) : '';
    } catch {
      return '';
    }
  }

  /** Who this browser is for the server; null for nobody it knows. */
  async session(): Promise<Session | null> {
    try {
      return parseSession(await json(await this.#request('/api/session')));
    } catch (err) {
      if (err instanceof ApiError && err.status < 500) return null;
      throw err;
    }
  }

  /** The configured cameras that may be changed, and those of the file. */
  async entries(): Promise<Entry[]> {
    return parseEntries(await json(await this.#request('/api/cameras')));
  }

  async entry(id: string): Promise<Entry> {
    return needed(parseEntry(await json(await this.#request('/api/cameras/' + encodeURIComponent(id)))));
  }

  /** Adds a camera. Throws ApiError with problems when something in it is wrong. */
  async addEntry(entry: EntryChange): Promise<Entry> {
    return needed(parseEntry(await json(await this.#send('POST', '/api/cameras', entry))));
  }

  /** Changes the keys that are given. */
  async changeEntry(id: string, change: EntryChange): Promise<Entry> {
    return needed(parseEntry(await json(await this.#send('PATCH', '/api/cameras/' + encodeURIComponent(id), change))));
  }

  async removeEntry(id: string): Promise<void> {
    await this.#send('DELETE', '/api/cameras/' + encodeURIComponent(id));
  }

  /** Ends a camera that came by itself, such as a phone, with all its viewers. */
  async dropCamera(id: string): Promise<void> {
    await this.#send('DELETE', '/api/camera/' + encodeURIComponent(id));
  }

  /** USB cameras at the machine that runs Camwire. */
  async usb(): Promise<UsbCamera[]> {
    return parseUsb(await json(await this.#request('/api/inventory/cameras/usb')));
  }

  async users(): Promise<User[]> {
    return parseUsers(await json(await this.#request('/api/users')));
  }

  async addUser(name: string, password: string, grant: Grant): Promise<void> {
    await this.#send('POST', '/api/users', { name, password, ...grantBody(grant) });
  }

  async changePassword(name: string, password: string): Promise<void> {
    await this.#send('PATCH', '/api/users/' + encodeURIComponent(name), { password });
  }

  async changeGrant(name: string, grant: Grant): Promise<void> {
    await this.#send('PATCH', '/api/users/' + encodeURIComponent(name), grantBody(grant));
  }

  async removeUser(name: string): Promise<void> {
    await this.#send('DELETE', '/api/users/' + encodeURIComponent(name));
  }

  async tokens(): Promise<Token[]> {
    return parseTokens(await json(await this.#request('/api/tokens')));
  }

  /** Makes a token. Its secret is in the answer and never told again. */
  async addToken(name: string, grant: Grant, expires: Date | null): Promise<NewToken> {
    const body = { name, ...grantBody(grant), ...(expires && { expires: expires.toISOString() }) };
    return needed(parseNewToken(await json(await this.#send('POST', '/api/tokens', body))));
  }

  async removeToken(id: string): Promise<void> {
    await this.#send('DELETE', '/api/tokens/' + encodeURIComponent(id));
  }

  #send(method: string, path: string, body?: object): Promise<Response> {
    if (!body) return this.#request(path, { method });
    return this.#request(path, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  }

  async #request(path: string, init: RequestInit = {}): Promise<Response> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), TIMEOUT);
    let response: Response;
    try {
      response = await fetch(this.#base + path, { cache: 'no-store', ...init, signal: abort.signal });
    } catch (err) {
      throw new UnreachableError(err);
    } finally {
      clearTimeout(timer);
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

/** What was answered instead of yes. */
async function refusal(response: Response): Promise<ApiError> {
  const copy = response.clone();
  const message = await errorText(response);
  const body: unknown = await copy.json().catch(() => null);
  return new ApiError(response.status, message, isObject(body) ? parseProblems(body['problems']) : []);
}

function grantBody(grant: Grant): object {
  return {
    permissions: grant.permissions,
    cameras: grant.cameras,
    ...(grant.also.length > 0 && { also: grant.also.map(grantBody) }),
  };
}

/** An answer that does not hold what it must is none: something else answered. */
function needed<T>(value: T | null): T {
  if (value === null) throw new UnreachableError('the answer is not of Camwire');
  return value;
}

async function json(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch (err) {
    // Half an answer is none: the connection broke, or something else sits in between.
    throw new UnreachableError(err);
  }
}
