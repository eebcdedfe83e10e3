/**
 * What a client was sent on one connection. Pure.
 *
 * A room that was sent is live as long as all that happened in it was sent too: up to where is what the client's `pos`
 * says, so that in most answers nothing changes here. Where something has happened in a room that the client does not look
 * at any more, it is noted from where on that is missing.
 */

import { isObject, isStringArray, type Json, type JsonObject, own } from '#keys/json.ts';

export interface SentRoom {
  /** From where on the client lacks what happened; `LIVE`: from the position of its `pos` on. */
  readonly since: number;
  /** The client has the newest so many events. */
  readonly timelineLimit: number;
  /** The `CombinedConfig.key` by which its state was sent. */
  readonly stateKey: string;
  /** Of `Flag`, added up. */
  readonly flags: number;
}

export const LIVE = -1;

/** What a client has of a room besides its events and its state. */
export const Flag = { accountData: 1, receipts: 2, typing: 4, dm: 8 } as const;

/** By numeric id of the room. */
export type SentRooms = ReadonlyMap<number, SentRoom>;

/** What one answer changes; undefined for a room that the client is to forget. */
export type SentChanges = ReadonlyMap<number, SentRoom | undefined>;

/** The extensions that a client was told all of, besides those for rooms. */
export interface SentWhole {
  readonly accountData: boolean;
  readonly threadSubscriptions: boolean;
}

export const NOTHING_WHOLE: SentWhole = { accountData: false, threadSubscriptions: false };

/** The rooms with changes; the same where there are none. */
export function withChanges(rooms: SentRooms, changes: SentChanges): SentRooms {
  if (changes.size === 0) return rooms;
  const changed = new Map(rooms);
  for (const [nid, room] of changes) {
    if (room === undefined) changed.delete(nid);
    else changed.set(nid, room);
  }
  return changed;
}

export function isSameRoom(a: SentRoom, b: SentRoom): boolean {
  return (
    a.since === b.since &&
    a.timelineLimit === b.timelineLimit &&
    a.stateKey === b.stateKey &&
    a.flags === b.flags
  );
}

/** About how many bytes it takes. */
export function weightOf(rooms: SentRooms): number {
  let weight = 500;
  const keys = new Set<string>();
  for (const { stateKey } of rooms.values()) {
    weight += 100;
    keys.add(stateKey);
  }
  for (const key of keys) weight += 2 * key.length;
  return weight;
}

/** As JSON: the numbers of each room in a row, since there may be thousands. `GONE` for what is forgotten. */
export function roomsToJson(rooms: SentChanges): JsonObject {
  const keys = new Map<string, number>();
  const numbers: number[] = [];
  for (const [nid, room] of rooms) {
    if (room === undefined) {
      numbers.push(nid, GONE, 0, 0, 0);
      continue;
    }
    const key = keys.get(room.stateKey) ?? keys.size;
    keys.set(room.stateKey, key);
    numbers.push(nid, room.since, room.timelineLimit, key, room.flags);
  }
  return { keys: [...keys.keys()], rooms: numbers };
}

const GONE = -2;
const NUMBERS_OF_ROOM = 5;

/** The reverse; undefined for what is none. */
export function roomsFromJson(json: Json | undefined): Map<number, SentRoom | undefined> | undefined {
  const keys = isObject(json) ? own(json, 'keys') : undefined;
  const numbers = isObject(json) ? own(json, 'rooms') : undefined;
  if (!isStringArray(keys) || !Array.isArray(numbers)) return undefined;
  const rooms = new Map<number, SentRoom | undefined>();
  for (let at = 0; at < numbers.length; at += NUMBERS_OF_ROOM) {
    const [nid, since, timelineLimit, key, flags] = numbers.slice(at, at + NUMBERS_OF_ROOM).map(Number);
    if (nid === undefined || since === undefined || timelineLimit === undefined) return undefined;
    const stateKey = keys[key ?? -1];
    if (since === GONE) rooms.set(nid, undefined);
    else if (stateKey === undefined || flags === undefined) return undefined;
    else rooms.set(nid, { since, timelineLimit, stateKey, flags });
  }
  return rooms;
}

export function wholeToJson(whole: SentWhole): JsonObject {
  return { ...whole };
}

export function wholeFromJson(json: JsonObject | undefined): SentWhole {
  return {
    accountData: json?.accountData === true,
    threadSubscriptions: json?.threadSubscriptions === true,
  };
}
