/** Switches that a browser keeps for its owner. Where it keeps nothing they last as long as the page. */
export function recall(key: string, otherwise: boolean): boolean {
  try {
    const kept = localStorage.getItem(key);
    return kept === null ? otherwise : kept === '1';
  } catch {
    return otherwise;
  }
}

export function remember(key: string, on: boolean): void {
  try {
    localStorage.setItem(key, on ? '1' : '0');
  } catch {
    // Storage may be forbidden.
  }
}
