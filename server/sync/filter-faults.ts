/** What is wrong with a filter: https://spec.matrix.org/v1.19/client-server-api/#filtering */

import { isObject, isStringArray, type JsonObject, own } from '#keys/json.ts';

/** Says what is wrong with a member of this name, if anything. */
type Check = (value: unknown) => string | undefined;
type Shape = Readonly<Record<string, Check>>;

const EVENT_FILTER: Shape = {
  limit: (value) => (isCount(value) ? undefined : 'must be an integer of 0 or more'),
  types: listOf(''),
  not_types: listOf(''),
  senders: listOf('@'),
  not_senders: listOf('@'),
};

const ROOMS: Shape = { rooms: listOf('!'), not_rooms: listOf('!') };

const ROOM_EVENT_FILTER: Shape = {
  ...EVENT_FILTER,
  ...ROOMS,
  contains_url: isBoolean,
  lazy_load_members: isBoolean,
  include_redundant_members: isBoolean,
  unread_thread_notifications: isBoolean,
};

const ROOM_FILTER: Shape = {
  ...ROOMS,
  include_leave: isBoolean,
  account_data: objectOf(ROOM_EVENT_FILTER),
  ephemeral: objectOf(ROOM_EVENT_FILTER),
  state: objectOf(ROOM_EVENT_FILTER),
  timeline: objectOf(ROOM_EVENT_FILTER),
};

const FILTER: Shape = {
  event_fields: listOf(''),
  event_format: (value) =>
    value === 'client' || value === 'federation' ? undefined : 'must be client or federation',
  account_data: objectOf(EVENT_FILTER),
  presence: objectOf(EVENT_FILTER),
  room: objectOf(ROOM_FILTER),
};

/** The first fault of a filter for /sync, with the name of the member; members that are not known have none. */
export function faultOfFilter(filter: JsonObject): string | undefined {
  return faultOf(filter, FILTER);
}

/** The first fault of a `RoomEventFilter`. */
export function faultOfEventFilter(filter: JsonObject): string | undefined {
  return faultOf(filter, ROOM_EVENT_FILTER);
}

function faultOf(json: JsonObject, shape: Shape): string | undefined {
  for (const [name, check] of Object.entries(shape)) {
    const value = own(json, name);
    // Clients say null for what they do not give.
    const fault = value === undefined || value === null ? undefined : check(value);
    if (fault !== undefined) return fault.startsWith('.') ? `${name}${fault}` : `${name} ${fault}`;
  }
  return undefined;
}

function objectOf(shape: Shape): Check {
  return (value) => {
    if (!isObject(value)) return 'must be an object';
    const fault = faultOf(value, shape);
    return fault === undefined ? undefined : `.${fault}`;
  };
}

/** Ids are judged by their sigil, as the specification's pattern does: of what is no id there are no events. */
function listOf(sigil: string): Check {
  return (value) => {
    if (!isStringArray(value)) return 'must be a list of strings';
    return value.every((item) => item.startsWith(sigil))
      ? undefined
      : `must hold ids that begin with ${sigil}`;
  };
}

/** "Must be an integer greater than 0": 0 is taken too, since clients say it who want none. */
function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isBoolean(value: unknown): string | undefined {
  return typeof value === 'boolean' ? undefined : 'must be true or false';
}
