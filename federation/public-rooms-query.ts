/** The bodies of `POST publicRooms`, of clients and of other servers: both APIs have the same. */

import { integerAt, isObject, type Json, type JsonObject, own } from '#keys/json.ts';
import type { PublicRoomsFilter, PublicRoomsQuery } from '#rooms/directory/directory.ts';
import { badJson, invalidParam } from './errors.ts';

/** What the body asks for. Throws `M_BAD_JSON` or `M_INVALID_PARAM`. */
export function publicRoomsQuery(body: JsonObject): PublicRoomsQuery {
  const network = textAt(body, 'third_party_instance_id');
  // "Can only be used if `include_all_networks` is false."
  if (network !== undefined && flagAt(body, 'include_all_networks') === true) {
    throw invalidParam('third_party_instance_id and include_all_networks exclude each other');
  }
  return {
    limit: limitAt(body),
    since: textAt(body, 'since'),
    filter: filterOf(given(body, 'filter')),
    // No network is called so: it would be all of them.
    thirdPartyInstanceId: network === '*' ? undefined : network,
    includeAllNetworks: flagAt(body, 'include_all_networks'),
  };
}

function filterOf(filter: Json | undefined): PublicRoomsFilter | undefined {
  if (filter === undefined) return undefined;
  if (!isObject(filter)) throw badJson('filter must be an object');
  const roomTypes = given(filter, 'room_types');
  if (roomTypes !== undefined && !isRoomTypes(roomTypes)) throw badJson('room_types must be a list');
  return { genericSearchTerm: textAt(filter, 'generic_search_term'), roomTypes };
}

function isRoomTypes(value: Json): value is readonly (string | null)[] {
  return Array.isArray(value) && value.every((item) => item === null || typeof item === 'string');
}

function limitAt(body: JsonObject): number | undefined {
  if (given(body, 'limit') === undefined) return undefined;
  const limit = integerAt(body, 'limit');
  if (limit === undefined) throw badJson('limit must be an integer');
  return limit;
}

function textAt(body: JsonObject, key: string): string | undefined {
  const value = given(body, key);
  if (value !== undefined && typeof value !== 'string') throw badJson(`${key} must be a string`);
  return value;
}

function flagAt(body: JsonObject, key: string): boolean | undefined {
  const value = given(body, key);
  if (value !== undefined && typeof value !== 'boolean') throw badJson(`${key} must be a boolean`);
  return value;
}

/** Null is as good as nothing. */
function given(body: JsonObject, key: string): Json | undefined {
  return own(body, key) ?? undefined;
}
