/** Filtering of history by the relations of its events: MSC3874, under its unstable names. */

import { isObject, isStringArray, type JsonObject, own } from '#keys/json.ts';
import { relationOf } from '#rooms/relations/relation.ts';

const MSC3874 = 'org.matrix.msc3874';

/** What a filter says of the relations of an event; undefined where it says nothing. */
export function relationFilterOf(text: string): ((event: { content: JsonObject }) => boolean) | undefined {
  const json: unknown = JSON.parse(text);
  if (!isObject(json)) return undefined;
  const only = listAt(json, `${MSC3874}.rel_types`);
  const not = listAt(json, `${MSC3874}.not_rel_types`);
  if (only === undefined && not === undefined) return undefined;
  return ({ content }) => {
    const { relType } = relationOf(content) ?? {};
    if (relType !== undefined && not?.includes(relType) === true) return false;
    return only === undefined || (relType !== undefined && only.includes(relType));
  };
}

function listAt(json: JsonObject, key: string): readonly string[] | undefined {
  const value = own(json, key);
  return isStringArray(value) ? value : undefined;
}
