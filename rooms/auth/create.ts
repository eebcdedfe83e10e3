import { serverNameOf } from '#keys/ids.ts';
import { own } from '#keys/json.ts';
import type { Event } from '../event.ts';
import { additionalCreatorsOf } from '../power.ts';
import { rulesOf } from '../versions.ts';
import { type Refusal, refuse } from './refusal.ts';

/** Rule 1, the same number in every version: `m.room.create`. */
export function checkCreate(event: Event): Refusal | undefined {
  // v12 1.1: If it has any `prev_events`, reject.
  if (event.prevEvents.length > 0) return refuse('v10 1.1', 'A create event has no prev_events');
  // "The auth_events for the m.room.create event in a room is empty"
  if (event.authEvents.length > 0) return refuse(undefined, 'A create event has no auth_events');
  // "state_key: A zero-length string."
  if (event.stateKey !== '') return refuse(undefined, 'The state key of a create event is empty');
  // v12 1.5: Otherwise, allow.
  return checkRoomId(event) ?? checkVersion(event) ?? checkCreators(event);
}

function checkRoomId(event: Event): Refusal | undefined {
  const { rules } = event;
  if (rules.roomIdIsCreateHash) {
    // v12 1.2: If the event has a `room_id`, reject.
    const isAbsent = own(event.pdu, 'room_id') === undefined;
    return isAbsent ? undefined : refuse('v12 1.2', 'A create event has no room_id');
  }
  // v10 1.2: If the domain of the `room_id` does not match the domain of the `sender`, reject.
  const domain = serverNameOf(event.roomId);
  if (domain === undefined || domain !== serverNameOf(event.sender)) {
    return refuse('v10 1.2', 'The room id is not of the server of the sender');
  }
  return undefined;
}

function checkVersion(event: Event): Refusal | undefined {
  const version = own(event.content, 'room_version');
  // v12 1.3: If `content.room_version` is present and is not a recognised version, reject.
  if (version !== undefined && (typeof version !== 'string' || rulesOf(version) === undefined)) {
    return refuse('v10 1.3', 'The room version is not a recognised one');
  }
  // "Defaults to "1" if the key does not exist." Whoever read this event by the rules of another version was misled.
  return (version ?? '1') === event.rules.version
    ? undefined
    : refuse(undefined, 'The event was read as of another room version');
}

function checkCreators({ content, rules }: Event): Refusal | undefined {
  // v10 1.4: If `content` has no `creator` property, reject.
  if (rules.creatorInContent && own(content, 'creator') === undefined) {
    return refuse('v10 1.4', 'The room has no creator');
  }
  // v12 1.4: If `additional_creators` is present in `content` and is not an array of strings where each string
  // passes the same user ID validation applied to `sender`, reject.
  if (rules.privilegedCreators && additionalCreatorsOf(content) === undefined) {
    return refuse('v12 1.4', 'additional_creators is not a list of user ids');
  }
  return undefined;
}
