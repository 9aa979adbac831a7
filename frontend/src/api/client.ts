import { errorText } from '../player/http';
import { parseCameras } from './types';
import type { Camera } from './types';

/** The server answered, and it was no. The message is in its own words. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
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
    await this.#request('/api/session', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ token }),
    });
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
    if (!response.ok) throw new ApiError(response.status, await errorText(response));
    return response;
  }
}

async function json(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch (err) {
    // Half an answer is none: the connection broke, or something else sits in between.
    throw new UnreachableError(err);
  }
}
