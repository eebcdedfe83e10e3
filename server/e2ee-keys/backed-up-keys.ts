/** Keys of a backup as clients send and get them: https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups */

import { badJson, invalidParam, missingParam, tooLarge } from '#federation/errors.ts';
import { isRoomId, MAX_ID_BYTES, type RoomId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, own } from '#keys/json.ts';
import type { BackedUpKey, KeysOf } from '#storage/backed-up-keys.ts';
import * as backedUpKeys from '#storage/backed-up-keys.ts';
import type { Reader } from '#storage/database.ts';

/** Those of clients are about 1 KiB. */
const LARGEST_SESSION_DATA = 16 * 1024;
const PAGE = 250;

/** The keys in the body of a PUT to `/room_keys/keys`, or below it where a room or a session is given. */
export function parseBackedUpKeys(
  body: JsonObject,
  { roomId, sessionId }: { readonly roomId?: string; readonly sessionId?: string },
): BackedUpKey[] {
  if (roomId === undefined) return membersOf(body, 'rooms').flatMap(([id, room]) => keysOfRoom(id, room));
  if (sessionId === undefined) return keysOfRoom(roomId, body);
  return [parseKey(roomIdOf(roomId), sessionId, body)];
}

/** `{"rooms": {...}}` with all keys of a backup, or `{"sessions": {...}}` with those of a room, in pieces. */
export async function* backedUpKeysText(reader: Reader, keysOf: KeysOf): AsyncGenerator<string> {
  const isWhole = keysOf.roomId === undefined;
  yield isWhole ? '{"rooms":{' : '{"sessions":{';
  let last: BackedUpKey | undefined;
  for (;;) {
    // A page after the other: a backup may have hundreds of thousands of keys, and its reader may be slow.
    const page = await backedUpKeys.page(reader, keysOf, { after: last, limit: PAGE });
    let text = '';
    for (const key of page) {
      if (isWhole && key.roomId !== last?.roomId) {
        text += `${last === undefined ? '' : '}},'}${JSON.stringify(key.roomId)}:{"sessions":{`;
      } else if (last !== undefined) {
        text += ',';
      }
      text += `${JSON.stringify(key.sessionId)}:${keyText(key)}`;
      last = key;
    }
    if (page.length < PAGE) {
      yield `${text}${isWhole && last !== undefined ? '}}' : ''}}}`;
      return;
    }
    yield text;
  }
}

/** A key, as JSON. */
export function keyText(key: BackedUpKey): string {
  const { firstMessageIndex, forwardedCount, isVerified, sessionData } = key;
  return `{"first_message_index":${firstMessageIndex},"forwarded_count":${forwardedCount},"is_verified":${isVerified},"session_data":${sessionData}}`;
}

function keysOfRoom(id: string, room: Json): BackedUpKey[] {
  const roomId = roomIdOf(id);
  if (!isObject(room)) throw badJson(`${id} is not an object`);
  return membersOf(room, 'sessions').map(([sessionId, key]) => parseKey(roomId, sessionId, key));
}

function parseKey(roomId: RoomId, sessionId: string, key: Json): BackedUpKey {
  if (sessionId === '' || Buffer.byteLength(sessionId) > MAX_ID_BYTES || !sessionId.isWellFormed()) {
    throw invalidParam('Not a session ID');
  }
  if (!isObject(key)) throw badJson(`${sessionId} is not an object`);
  const isVerified = present(key, 'is_verified');
  if (typeof isVerified !== 'boolean') throw badJson('is_verified must be a boolean');
  const data = present(key, 'session_data');
  if (!isObject(data)) throw badJson('session_data must be an object');
  const sessionData = JSON.stringify(data);
  if (Buffer.byteLength(sessionData) > LARGEST_SESSION_DATA) throw tooLarge('session_data is over 16 KiB');
  return {
    roomId,
    sessionId,
    firstMessageIndex: countAt(key, 'first_message_index'),
    forwardedCount: countAt(key, 'forwarded_count'),
    isVerified,
    sessionData,
  };
}

function roomIdOf(id: string): RoomId {
  if (!isRoomId(id)) throw invalidParam(`${id} is not a room ID`);
  return id;
}

function membersOf(object: JsonObject, name: string): [string, Json][] {
  const members = present(object, name);
  if (!isObject(members)) throw badJson(`${name} must be an object`);
  return Object.entries(members);
}

function countAt(key: JsonObject, name: string): number {
  const value = present(key, name);
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw badJson(`${name} must be an integer that is not negative`);
  }
  return value;
}

function present(object: JsonObject, name: string): Json {
  const value = own(object, name);
  if (value === undefined) throw missingParam(name);
  return value;
}
