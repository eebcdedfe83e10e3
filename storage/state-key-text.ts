/** One text for an event type and a state key, under which a state event stands in maps. */

import type { StateKey } from './state-keys.ts';

/**
 * The text of a pair. Two pairs never have the same one: a type with NUL in it, as anybody may send it, is written
 * such that the text has none, which all others have.
 */
export function stateKeyText(type: string, stateKey: string): string {
  return type.includes('\0') ? JSON.stringify([type, stateKey]) : `${type}\0${stateKey}`;
}

/** The pair of a text of `stateKeyText`. */
export function stateKeyOf(text: string): StateKey {
  const end = text.indexOf('\0');
  if (end >= 0) return { type: text.slice(0, end), stateKey: text.slice(end + 1) };
  const [type = '', stateKey = '']: readonly string[] = JSON.parse(text);
  return { type, stateKey };
}
