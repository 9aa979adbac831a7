import { inject } from 'vue';
import type { InjectionKey, ShallowRef } from 'vue';
import { may } from './api/accounts';
import type { Permission, Session } from './api/accounts';
import type { Api } from './api/client';
import type { Cameras } from './api/watch';

/** What every page shares: the server, and what is known of its cameras. */
export interface Shared {
  readonly api: Api;
  readonly cameras: Readonly<ShallowRef<Cameras>>;
  /** Who this browser is for the server; null while that is not known. */
  readonly session: Readonly<ShallowRef<Session | null>>;
  /** Asks the server for the list and for the session now. */
  refresh(): void;
}

export const SHARED: InjectionKey<Shared> = Symbol('camwire');

export function useShared(): Shared {
  const shared = inject(SHARED);
  if (!shared) throw new Error('this component belongs below App, which provides what all pages share');
  return shared;
}

/** Whether the pages should offer something; the server decides by itself. */
export function useMay(): (permission: Permission, camera?: string) => boolean {
  const { session } = useShared();
  return (permission, camera) => may(session.value, permission, camera);
}
