import { inject } from 'vue';
import type { InjectionKey, ShallowRef } from 'vue';
import type { Api } from './api/client';
import type { Cameras } from './api/watch';

/** What every page shares: the server, and what is known of its cameras. */
export interface Shared {
  readonly api: Api;
  readonly cameras: Readonly<ShallowRef<Cameras>>;
  /** Asks the server for the list now. */
  refresh(): void;
}

export const SHARED: InjectionKey<Shared> = Symbol('camwire');

export function useShared(): Shared {
  const shared = inject(SHARED);
  if (!shared) throw new Error('this component belongs below App, which provides what all pages share');
  return shared;
}
