/**
 * Properties of events by their path: https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
 */

import { isObject, type Json, own } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';

/** What clients see of an event, besides `event_id` and `room_id`. */
const SHOWN: ReadonlySet<string> = new Set([
  'content',
  'origin_server_ts',
  'redacts',
  'sender',
  'state_key',
  'type',
]);

/**
 * The names of a path. "Any literal dot or backslash found in a property name should be escaped with a backslash";
 * "other escape sequences are left as-is".
 */
export function pathOf(key: string): readonly string[] {
  const names = [''];
  for (const [token] of key.matchAll(/\\[.\\]|\.|[^.\\]+|\\/gu)) {
    if (token === '.') names.push('');
    else names.push(`${names.pop() ?? ''}${/^\\[.\\]$/.test(token) ? token.slice(1) : token}`);
  }
  return names;
}

/** The value of a property of an event in the format for clients; undefined where it is "completely absent". */
export function propertyOf(event: Event, path: readonly string[]): Json | undefined {
  let value = topLevel(event, path[0] ?? '');
  for (let depth = 1; depth < path.length; depth++) {
    if (!isObject(value)) return undefined;
    value = own(value, path[depth] ?? '');
  }
  return value;
}

function topLevel(event: Event, name: string): Json | undefined {
  if (name === 'event_id') return event.eventId;
  if (name === 'room_id') return event.roomId;
  return SHOWN.has(name) ? own(event.pdu, name) : undefined;
}
