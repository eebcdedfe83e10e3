/** Global account data, and that of rooms, which the rooms' sections tell. */

import type { RoomId } from '#keys/ids.ts';
import * as accountData from '#storage/account-data.ts';
import * as pushRules from '#storage/push-rules.ts';
import { pushRulesContent } from '../push/ruleset.ts';
import type { SyncAnswer, SyncContext, SyncRequest } from './context.ts';
import { includesRoom, passes } from './filter.ts';

export interface AccountPart {
  /** Events of the account as a whole, as JSON. */
  readonly events: readonly string[];
  readonly roomAccountData: SyncAnswer['roomAccountData'];
}

const NOTHING: AccountPart = { events: [], roomAccountData: new Map() };

/** A user's account data that changed since the last answer; all of it in an initial sync. */
export async function accountPart(
  { server }: SyncContext,
  { requester, since, filter }: SyncRequest,
  upto: number,
): Promise<AccountPart> {
  const { userId } = requester;
  if (since !== undefined && !server.streams.mayConcern(`user:${userId}`, since)) return NOTHING;
  const data = await accountData.since(server.db, userId, since ?? 0, upto);
  const global = data
    .filter(({ roomId }) => roomId === '')
    .map(({ type, content }) => ({ type, content: content as unknown }));
  const rules = await pushRules.get(server.db, userId);
  // What came after `upto` is told again with the next answer.
  if (since === undefined || rules.position > since)
    global.unshift({
      type: 'm.push_rules',
      content: pushRulesContent(userId, rules.own, server.unread.rules.options),
    });
  const events = global
    .filter(({ type }) => passes(filter.accountData, { type }))
    .map(({ type, content }) => JSON.stringify({ type, content }));
  const ofRooms = data.filter(({ roomId }) => roomId !== '');
  return { events, roomAccountData: Map.groupBy(ofRooms, ({ roomId }) => roomId) };
}

/** The user's account data of one room that changed since a position, or all of it; each as JSON. */
export async function roomAccountEvents(
  { server }: SyncContext,
  { request, user, roomAccountData }: SyncAnswer,
  roomId: RoomId,
  since: number | undefined,
): Promise<string[]> {
  const filter = request.filter.roomAccountData;
  if (!includesRoom(filter.rooms, roomId)) return [];
  // Of a room that the client does not have, what was set before is new too.
  const isNewRoom = since === undefined && request.since !== undefined;
  const all = isNewRoom
    ? await accountData.ofRoom(server.db, user.userId, roomId)
    : (roomAccountData.get(roomId) ?? []);
  return all
    .filter(({ type }) => passes(filter, { type }))
    .map(({ type, content }) => JSON.stringify({ type, content }));
}
