const collator = new Intl.Collator(undefined, { numeric: true });

/** Cameras as people count them: cam_2 before cam_10. */
export function inOrder<T extends { readonly id: string }>(list: readonly T[]): T[] {
  return [...list].sort((a, b) => collator.compare(a.id, b.id));
}
