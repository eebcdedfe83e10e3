/** By which of our users a room is kept. */

import type { EventId, UserId } from '#keys/ids.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { mostPowerful } from '#rooms/most-powerful.ts';
import { type PowerLevels, powerOf } from '#rooms/power.ts';
import type { Room } from '#rooms/room.ts';
import { currentStateEvents } from '#rooms/state.ts';

/** What is needed to bring people into a room. */
export interface Acting {
  /** The most powerful of our users in the room. */
  readonly userId: UserId;
  readonly power: PowerLevels;
  /** Of `m.room.power_levels`; undefined where the room has none. */
  readonly levels: JsonObject | undefined;
  /** That event. */
  readonly levelsId: EventId | undefined;
  readonly isPublic: boolean;
}

/** Undefined where nobody of ours, but for `without`, is in the room. */
export async function actingIn(ctx: RoomsContext, room: Room, without?: UserId): Promise<Acting | undefined> {
  const types = ['m.room.create', 'm.room.power_levels', 'm.room.join_rules'];
  const state = await currentStateEvents(
    ctx,
    room.roomNid,
    types.map((type) => ({ type, stateKey: '' })),
  );
  const of = (type: string) => state.find(({ event }) => event.type === type)?.event;
  const power = powerOf(of('m.room.create'), of('m.room.power_levels'));
  const userId = await mostPowerful(ctx, room, power, without);
  if (userId === undefined) return undefined;
  const isPublic = stringAt(of('m.room.join_rules')?.content ?? {}, 'join_rule') === 'public';
  const levels = of('m.room.power_levels');
  return { userId, power, levels: levels?.content, levelsId: levels?.eventId, isPublic };
}
