/** The type of all texts of our pages and letters: what English has, every language has. */

import type { accountEn } from './account-en.ts';
import type { en } from './en.ts';

type Texted<Tree> = { readonly [Key in keyof Tree]: Tree[Key] extends string ? string : Texted<Tree[Key]> };

export type Texts = Texted<typeof en>;
export type AccountTexts = Texted<typeof accountEn>;

/** Puts values in the place of the `{words}` of a text. */
export function fill(text: string, values: Readonly<Record<string, string | number>>): string {
  return text.replaceAll(/\{(\w+)\}/g, (word, name: string) =>
    Object.hasOwn(values, name) ? String(values[name]) : word,
  );
}
