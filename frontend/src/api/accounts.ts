import { isObject, moment, objects, text, texts } from './json';
import type { Loose } from './json';

/** What somebody may be allowed to do, from little to everything. */
export const PERMISSIONS = ['view', 'publish', 'control', 'playback', 'admin'] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** What somebody may do, and with which cameras. */
export interface Grant {
  readonly permissions: readonly Permission[];
  /** Ids, or beginnings of ids that end in "*"; none means all. */
  readonly cameras: readonly string[];
  /** Further permissions with cameras of their own. */
  readonly also: readonly Grant[];
}

/** Who this browser is for the server. */
export interface Session {
  readonly name: string;
  /** "anonymous" is a stranger, "admin" has the administrator's token. */
  readonly kind: string;
  readonly grants: readonly Grant[];
  /** When it ends, null for never. */
  readonly expires: Date | null;
}

export interface User extends Grant {
  readonly name: string;
  readonly created: Date | null;
}

export interface Token extends Grant {
  readonly id: string;
  readonly name: string;
  readonly created: Date | null;
  readonly expires: Date | null;
  readonly lastUsed: Date | null;
}

/** A new token with its secret, which is told this once. */
export interface NewToken {
  readonly id: string;
  readonly secret: string;
}

/**
 * Reports whether somebody may do something with a camera. Without a camera: for
 * admin, with all of them; for the rest, with any. The server decides; this
 * only keeps the pages from offering what it would refuse.
 */
export function may(session: Session | null, permission: Permission, camera?: string): boolean {
  return session?.grants.some((g) => [g, ...g.also].some((h) => here(h, permission, camera))) ?? false;
}

function here(grant: Grant, permission: Permission, camera: string | undefined): boolean {
  if (!grant.permissions.includes('admin') && !grant.permissions.includes(permission)) return false;
  if (grant.cameras.length === 0) return true;
  if (camera === undefined) return permission !== 'admin';
  return grant.cameras.some((p) => (p.endsWith('*') ? camera.startsWith(p.slice(0, -1)) : p === camera));
}

/** Whether somebody signed in, as opposed to a stranger whom the server lets watch. */
export function isKnown(session: Session | null): boolean {
  return session !== null && session.kind !== '' && session.kind !== 'anonymous';
}

export function parseSession(value: unknown): Session | null {
  if (!isObject(value)) return null;
  const name = text(value['name']);
  const kind = text(value['kind']);
  if (name === '' && kind === '') return null;
  // Told one by one they say what goes with which camera; all together they say too much.
  const several = objects(value['grants']).map(parseGrant);
  return { name, kind: kind || name, grants: several.length > 0 ? several : [parseGrant(value)], expires: moment(value['expires']) };
}

export function parseUsers(value: unknown): User[] {
  return objects(value)
    .map((v) => ({ ...parseGrant(v), name: text(v['name']), created: moment(v['created']) }))
    .filter((u) => u.name !== '');
}

export function parseTokens(value: unknown): Token[] {
  return objects(value)
    .map((v) => ({
      ...parseGrant(v),
      id: text(v['id']),
      name: text(v['name']),
      created: moment(v['created']),
      expires: moment(v['expires']),
      lastUsed: moment(v['last_used']),
    }))
    .filter((t) => t.id !== '');
}

export function parseNewToken(value: unknown): NewToken | null {
  if (!isObject(value)) return null;
  const secret = text(value['token']);
  return secret === '' ? null : { id: text(value['id']), secret };
}

function parseGrant(v: Loose): Grant {
  return {
    permissions: texts(v['permissions']).filter((p) => (PERMISSIONS as readonly string[]).includes(p)) as Permission[],
    cameras: texts(v['cameras']).filter((c) => c !== '*'),
    also: objects(v['also']).map((a) => ({ ...parseGrant(a), also: [] })),
  };
}
