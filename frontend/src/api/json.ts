/** What is left of an answer when nothing in it can be taken for granted. */
export type Loose = Readonly<Record<string, unknown>>;

/** The objects of an array; everything else is left out. */
export function objects(value: unknown): Loose[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

export function isObject(value: unknown): value is Loose {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A text, or '' for anything else. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** A finite number, or what stands in for it. */
export function number(value: unknown, otherwise = 0): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : otherwise;
}

/** The texts of an array. */
export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((v) => typeof v === 'string') : [];
}

/** A moment as the server writes it (RFC 3339), or null for none. Go's zero time is none. */
export function moment(value: unknown): Date | null {
  const at = typeof value === 'string' ? new Date(value) : null;
  return at && Number.isFinite(at.getTime()) && at.getTime() > 0 ? at : null;
}
