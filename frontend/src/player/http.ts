import type { RungContext } from './rung';
import type { Reason } from './types';

/** What an answer other than 2xx means for the ladder. Reads the body. */
export async function refusal(response: Response): Promise<Reason> {
  const detail = await errorText(response);
  if (response.status === 401) return { code: 'unauthorized', detail };
  // A 404 may be a camera without a picture yet, so it is worth another try.
  return { code: 'refused', detail };
}

/** The server's own words, or at least the status. */
export async function errorText(response: Response): Promise<string> {
  try {
    const body: unknown = await response.json();
    if (typeof body === 'object' && body !== null && 'error' in body && typeof body.error === 'string') {
      return body.error;
    }
  } catch {
    // A proxy in between answers in HTML; the status has to do.
  }
  return `HTTP ${response.status}`;
}

/** A header with a number in it. */
export function numberHeader(headers: { get(name: string): string | null | undefined }, name: string): number | undefined {
  const text = headers.get(name);
  if (!text) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/**
 * A snapshot says when its picture was taken and how old it is: together, what
 * time it is at the server.
 */
export function learnClock(ctx: RungContext, sent: number, response: Response): void {
  const taken = numberHeader(response.headers, 'X-Frame-Timestamp');
  const age = numberHeader(response.headers, 'X-Frame-Age-Ms');
  if (taken !== undefined && age !== undefined) ctx.clock.add(sent, taken * 1000 + age, performance.now());
}
