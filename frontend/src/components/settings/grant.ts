import type { Grant, Permission } from '../../api/accounts';

/** The ids and beginnings of ids in a line with commas or blanks between them. */
export function camerasOf(line: string): string[] {
  return [...new Set(line.split(/[\s,;]+/).filter(Boolean))];
}

/** A grant in words, a line for each part of it. */
export function grantLines(
  grant: Grant,
  words: { permission: (p: Permission) => string; all: string; line: (what: string, cameras: string) => string },
): string[] {
  return [grant, ...grant.also]
    .filter((g) => g.permissions.length > 0)
    .map((g) => {
      // Who may do everything may also do the rest.
      const what = g.permissions.includes('admin') ? (['admin'] as const) : g.permissions;
      return words.line(what.map(words.permission).join(', '), g.cameras.length > 0 ? g.cameras.join(', ') : words.all);
    });
}
