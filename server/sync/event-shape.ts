/** `event_fields` and `event_format` of a filter: https://spec.matrix.org/v1.19/client-server-api/#filtering */

import { isObject, isStringArray, type Json, type JsonObject, objectAt, own } from '#keys/json.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';

/** How room events are written for a client that wants them otherwise than whole and in the format of clients. */
export interface EventShape {
  /** "The raw event as received over federation." */
  readonly isRaw: boolean;
  /** The members to keep, each by its path; undefined for all. */
  readonly fields: readonly (readonly string[])[] | undefined;
}

const MOST_FIELDS = 100;
const DEEPEST_FIELD = 20;

/** Undefined where events are to be as they always are. */
export function eventShapeOf(filter: JsonObject): EventShape | undefined {
  const isRaw = own(filter, 'event_format') === 'federation';
  const named = own(filter, 'event_fields');
  const fields = isStringArray(named) ? named.slice(0, MOST_FIELDS).map(pathOf) : undefined;
  return isRaw || fields !== undefined ? { isRaw, fields } : undefined;
}

/** The texts of events in the shape that is asked for. */
export function shapedTexts(
  shape: EventShape | undefined,
  events: readonly StoredEvent[],
  texts: readonly string[],
): readonly string[] {
  if (shape === undefined) return texts;
  return texts.map((text, index) => {
    const stored = events[index];
    return stored === undefined ? text : shapedText(shape, stored, text);
  });
}

function shapedText({ isRaw, fields }: EventShape, { event }: StoredEvent, text: string): string {
  const whole = isRaw ? rawText(event.json, text) : text;
  if (fields === undefined) return whole;
  const json: unknown = JSON.parse(whole);
  return isObject(json) ? JSON.stringify(picked(json, fields)) : whole;
}

/** The PDU, with what the client's form of it has in `unsigned`, which is ours to say. */
function rawText(pdu: string, text: string): string {
  const json: unknown = JSON.parse(text);
  const unsigned = isObject(json) ? (objectAt(json, 'unsigned') ?? {}) : {};
  return `${pdu.slice(0, -1)},"unsigned":${JSON.stringify(unsigned)}}`;
}

type Picked = Map<string, Picked | Json>;

function picked(json: JsonObject, fields: readonly (readonly string[])[]): JsonObject {
  const kept: Picked = new Map();
  for (const path of fields) pick(json, path, kept);
  return objectFrom(kept);
}

/** Puts the value under a path to what is kept, where there is one. */
function pick(json: JsonObject, [key = '', ...rest]: readonly string[], kept: Picked): void {
  const value = own(json, key);
  if (value === undefined) return;
  const known = kept.get(key);
  if (rest.length === 0) kept.set(key, value);
  else if (isObject(value) && (known === undefined || known instanceof Map)) {
    const inner: Picked = known instanceof Map ? known : new Map();
    pick(value, rest, inner);
    if (inner.size > 0) kept.set(key, inner);
  }
}

function objectFrom(kept: Picked): JsonObject {
  const members = [...kept].map(([key, value]) => [key, value instanceof Map ? objectFrom(value) : value]);
  return Object.fromEntries(members);
}

/** "Any literal dot or backslash found in a property name should be escaped with a backslash"; others are left as they are. */
function pathOf(field: string): readonly string[] {
  const path = [''];
  for (let at = 0; at < field.length; at++) {
    const [character = '', next] = [field[at], field[at + 1]];
    const last = path.length - 1;
    if (character === '\\' && (next === '.' || next === '\\')) {
      path[last] += next;
      at += 1;
    } else if (character === '.' && path.length < DEEPEST_FIELD) path.push('');
    else path[last] += character;
  }
  return path;
}
