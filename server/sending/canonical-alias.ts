/** https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias */

import { resolveAlias } from '#federation/directory.ts';
import { badAlias, invalidParam } from '#federation/errors.ts';
import { type EventId, isRoomAlias, type RoomAlias, type RoomId, type UserId } from '#keys/ids.ts';
import { isStringArray, type JsonObject, own } from '#keys/json.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { sendEvent } from '#rooms/send.ts';
import { currentStateEvent } from '#rooms/state.ts';
import type { ServerContext } from '../context.ts';

/** Each may be asked of another server. */
const MOST_ADDED = 20;
const ATTEMPTS = 5;

/**
 * "Any new aliases being listed in the event are valid per their grammar/syntax and [...] point to the room ID where
 * the state event is to be sent. Servers do not validate aliases which are being removed or are already present in
 * the state event." Throws `M_INVALID_PARAM` or `M_BAD_ALIAS`.
 */
export async function checkCanonicalAlias(
  ctx: ServerContext,
  room: Room,
  content: JsonObject,
): Promise<void> {
  const before = await currentStateEvent(ctx, room.roomNid, 'm.room.canonical_alias', '');
  const known = new Set(before === undefined ? [] : aliasesIn(before.event.content));
  const added = aliasesIn(content).filter((alias) => !known.has(alias));
  if (added.length > MOST_ADDED) throw invalidParam(`More than ${MOST_ADDED} aliases are added at once`);
  for (const alias of added) {
    if (!isRoomAlias(alias)) throw invalidParam('A canonical alias is not a room alias');
    // One after the other: a client names a few at most, and the first that is wrong is told.
    await checkPointsTo(ctx, room, alias);
  }
}

/**
 * Takes an alias that is gone out of the room's canonical aliases. "Servers which choose to update the canonical alias
 * event are recommended to [...] delete the alias and return a successful response even if the user does not have
 * permission to update the `m.room.canonical_alias` event."
 */
export async function dropCanonicalAlias(
  ctx: ServerContext,
  { userId, roomId, alias }: { readonly userId: UserId; readonly roomId: RoomId; readonly alias: RoomAlias },
): Promise<void> {
  let before: EventId | undefined;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const room = await getRoom(ctx, roomId);
    const stored = room && (await currentStateEvent(ctx, room.roomNid, 'm.room.canonical_alias', ''));
    const content = stored && withoutAlias(stored.event.content, alias);
    if (stored === undefined || content === undefined) return;
    const upon = stored.event.eventId;
    // It was refused, not overtaken.
    if (upon === before) break;
    before = upon;
    // Each attempt begins with what the one before found: others may have been dropped meanwhile.
    const sent = await sendEvent(ctx, {
      ...{ roomId, sender: userId, type: 'm.room.canonical_alias', stateKey: '', content, upon },
    });
    if (sent.kind === 'sent') return;
  }
  ctx.log.debug({ roomId, alias }, 'a deleted alias stays canonical');
}

/** Undefined where the alias is not in it. */
function withoutAlias(content: JsonObject, alias: RoomAlias): JsonObject | undefined {
  const { alias: main, alt_aliases: others, ...rest } = content;
  const kept = Array.isArray(others) ? others.filter((other) => other !== alias) : others;
  const wasOther = Array.isArray(others) && Array.isArray(kept) && kept.length < others.length;
  if (main !== alias && !wasOther) return undefined;
  const isEmpty = kept === undefined || (Array.isArray(kept) && kept.length === 0);
  return {
    ...rest,
    ...(main !== undefined && main !== alias && { alias: main }),
    ...(!isEmpty && { alt_aliases: kept }),
  };
}

async function checkPointsTo(ctx: ServerContext, { roomId }: Room, alias: RoomAlias): Promise<void> {
  const found = await resolveAlias(ctx, alias);
  if (found?.roomId !== roomId) throw badAlias(`The alias ${alias} does not point to this room`);
}

/** Throws where one of them is no text. */
function aliasesIn(content: JsonObject): string[] {
  const alias = own(content, 'alias');
  const others = own(content, 'alt_aliases') ?? [];
  if (!isStringArray(others)) throw invalidParam('alt_aliases is not a list of room aliases');
  if (alias === undefined || alias === null || alias === '') return [...others];
  if (typeof alias !== 'string') throw invalidParam('alias is not a room alias');
  return [alias, ...others];
}
