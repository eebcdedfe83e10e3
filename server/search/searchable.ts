/** What is searched of which events: https://spec.matrix.org/v1.19/client-server-api/#server-side-search */

import { isObject, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { wordsOf } from '#keys/words.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import type { SearchableEvent } from '#storage/search.ts';

/** The type of the events in which each key is searched. */
export const TYPE_OF_KEY: ReadonlyMap<string, string> = new Map([
  ['content.body', 'm.room.message'],
  ['content.name', 'm.room.name'],
  ['content.topic', 'm.room.topic'],
]);

/** What the index keeps of an event; undefined where it has nothing to look for. */
export function searchable({ position, roomNid, event }: StoredEvent): SearchableEvent | undefined {
  if (position === undefined) return undefined;
  const words = textsIn(event).flatMap(wordsOf).join(' ');
  return words === '' ? undefined : { position, roomNid, words };
}

/** What is searched of an event, as it is written. */
export function searchableTexts({ event }: StoredEvent): readonly string[] {
  return textsIn(event);
}

function textsIn({
  type,
  stateKey,
  content,
}: {
  readonly type: string;
  readonly stateKey?: string | undefined;
  readonly content: JsonObject;
}): readonly string[] {
  switch (type) {
    case 'm.room.message':
      return stateKey === undefined ? given(stringAt(content, 'body')) : [];
    case 'm.room.name':
      return stateKey === '' ? given(stringAt(content, 'name')) : [];
    case 'm.room.topic':
      return stateKey === '' ? topicsIn(content) : [];
    default:
      return [];
  }
}

/** "`content.topic` as well as the `body` of the `text/plain` representation in `content['m.topic']`." */
function topicsIn(content: JsonObject): readonly string[] {
  const topics = new Set(given(stringAt(content, 'topic')));
  const representations = own(objectAt(content, 'm.topic') ?? {}, 'm.text');
  for (const representation of Array.isArray(representations) ? representations : []) {
    if (!isObject(representation)) continue;
    const mimetype = stringAt(representation, 'mimetype') ?? 'text/plain';
    if (mimetype === 'text/plain')
      for (const text of given(stringAt(representation, 'body'))) topics.add(text);
  }
  return [...topics];
}

function given(text: string | undefined): string[] {
  return text === undefined ? [] : [text];
}
