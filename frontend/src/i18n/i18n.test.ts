import { describe, expect, it } from 'vitest';
import { chooseLocale } from '.';
import { de } from './de';
import { en } from './en';

/** All paths of a tree of messages with the names in braces. */
function paths(tree: object, prefix = ''): string[] {
  return Object.entries(tree).flatMap(([key, value]) =>
    typeof value === 'string'
      ? [`${prefix}${key} ${[...value.matchAll(/\{\w+\}/g)].map(String).sort().join()}`]
      : paths(value as object, `${prefix}${key}.`),
  );
}

describe('messages', () => {
  it('has the same messages with the same names in every language', () => {
    expect(paths(de).sort()).toEqual(paths(en).sort());
  });
});

describe('chooseLocale', () => {
  it.each([
    [null, ['fr-FR', 'de-AT', 'en'], 'de'],
    ['en', ['de'], 'en'],
    ['xx', ['fr'], 'en'],
    [null, [], 'en'],
    ['constructor', ['de'], 'de'],
  ])('%s, %j: %s', (remembered, wanted, locale) => {
    expect(chooseLocale(remembered, wanted)).toBe(locale);
  });
});
