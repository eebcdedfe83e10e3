/** What a push gateway is told: https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify */

import type { UserId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { currentStateEvents } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as invites from '#storage/invites.ts';
import type { Pusher } from '#storage/pushers.ts';

/** An event that a user is told of, and what the rule says that it matched. */
export interface Told {
  readonly userId: UserId;
  readonly roomId: string;
  readonly stored: StoredEvent;
  readonly actions: readonly Json[];
}

/** What people call who has sent an event, and its room. */
export interface Names {
  readonly sender?: string | undefined;
  readonly room?: string | undefined;
  readonly alias?: string | undefined;
}

const DISABLE_BADGE_COUNT = 'org.matrix.msc4076.disable_badge_count';
/** A notification is handed on in a few kilobytes: what is longer clients fetch. */
const MOST_CONTENT_CHARACTERS = 32_768;

/** That an event has come, in the format that the pusher asks for. */
export async function eventNotification(
  ctx: RoomsContext,
  pusher: Pusher,
  told: Told,
  unread: number,
): Promise<JsonObject> {
  const { event } = told.stored;
  const tweaks = tweaksOf(told.actions);
  const common = {
    event_id: event.eventId,
    room_id: told.roomId,
    counts: countsOf(pusher, unread),
    prio: priorityOf(event.type, tweaks),
  };
  // "only the `event_id`, `room_id`, `counts`, and `devices` are required to be populated"
  if (stringAt(pusher.data, 'format') === 'event_id_only') return { ...common, devices: [deviceOf(pusher)] };
  const names = await namesOf(ctx, told);
  const isContentShort = JSON.stringify(event.content).length <= MOST_CONTENT_CHARACTERS;
  return {
    ...common,
    type: event.type,
    sender: event.sender,
    ...(names.sender !== undefined && { sender_display_name: names.sender }),
    ...(names.room !== undefined && { room_name: names.room }),
    ...(names.alias !== undefined && { room_alias: names.alias }),
    ...(event.type === 'm.room.member' && { user_is_target: event.stateKey === told.userId }),
    ...(isContentShort && { content: event.content }),
    devices: [{ ...deviceOf(pusher), tweaks }],
  };
}

/** "The counts may be sent along with a notification about an event or by themselves." */
export function countsNotification(pusher: Pusher, unread: number): JsonObject {
  return { counts: countsOf(pusher, unread), prio: 'low', devices: [deviceOf(pusher)] };
}

/** True where the app shows no number (MSC4076): then it is told none, nor woken to change it. */
export function countsItself({ data }: Pusher): boolean {
  return own(data, DISABLE_BADGE_COUNT) === true;
}

/** "Counts whose value is zero should be omitted": but for that the number has become zero there is no other sign. */
function countsOf(pusher: Pusher, unread: number): JsonObject {
  return countsItself(pusher) || unread === 0 ? {} : { unread };
}

function deviceOf({ appId, pushkey, createdTs, data }: Pusher): JsonObject {
  const { url: _, ...rest } = data;
  return { app_id: appId, pushkey, pushkey_ts: Math.floor(createdTs / 1_000), data: rest };
}

/** "A `set_tweak` action": the last one of a name counts. */
function tweaksOf(actions: readonly Json[]): JsonObject {
  const tweaks = new Map<string, Json>();
  for (const action of actions) {
    const name = isObject(action) ? stringAt(action, 'set_tweak') : undefined;
    if (name === undefined || !isObject(action)) continue;
    // "If a `highlight` tweak is given with no value, its value is defined to be `true`."
    const value = own(action, 'value') ?? (name === 'highlight' ? true : undefined);
    if (value !== undefined) tweaks.set(name, value);
  }
  return Object.fromEntries(tweaks);
}

/** High for what makes itself heard or seen, or may do so once it is decrypted. */
function priorityOf(type: string, tweaks: JsonObject): 'high' | 'low' {
  const isLoud = own(tweaks, 'sound') !== undefined || own(tweaks, 'highlight') === true;
  return isLoud || type === 'm.room.encrypted' || type === 'm.call.invite' ? 'high' : 'low';
}

export async function namesOf(
  ctx: RoomsContext,
  { userId, stored }: Pick<Told, 'userId' | 'stored'>,
): Promise<Names> {
  const { event, roomNid, position } = stored;
  const state =
    position === undefined
      ? ((await invites.shownTo(ctx.db, roomNid, userId))?.state ?? [])
      : (
          await currentStateEvents(ctx, roomNid, [
            { type: 'm.room.name', stateKey: '' },
            { type: 'm.room.canonical_alias', stateKey: '' },
            { type: 'm.room.member', stateKey: event.sender },
          ])
        ).map((known) => ({
          type: known.event.type,
          state_key: known.event.stateKey ?? '',
          content: known.event.content,
        }));
  const textOf = (type: string, stateKey: string, key: string): string | undefined => {
    const found = state.find((one) => own(one, 'type') === type && own(one, 'state_key') === stateKey);
    const content = found && own(found, 'content');
    const text = isObject(content) ? stringAt(content, key) : undefined;
    return text === '' ? undefined : text;
  };
  return {
    sender: textOf('m.room.member', event.sender, 'displayname'),
    room: textOf('m.room.name', '', 'name'),
    alias: textOf('m.room.canonical_alias', '', 'alias'),
  };
}
