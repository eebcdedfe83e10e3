/** How users are, as other servers tell it: https://spec.matrix.org/v1.19/server-server-api/#presence */

import { belongsTo, isUserId, type ServerName, type UserId } from '#keys/ids.ts';
import { integerAt, isObject, type Json, type JsonObject, own, stringAt } from '#keys/json.ts';
import * as memberships from '#storage/memberships.ts';
import type { Presence, PresenceState } from '#storage/presences.ts';
import type { EduContext } from './edu-source.ts';

/** Users in one EDU: servers send fewer. */
const MOST_USERS = 1_000;
const LONGEST_STATUS = 1_000;
const STATES: readonly PresenceState[] = ['online', 'unavailable', 'offline'];

/** Takes in an `m.presence`: only of the origin's own users, only of those who share a room with one of ours. */
export async function receivePresence(
  ctx: EduContext,
  origin: ServerName,
  content: JsonObject,
): Promise<undefined> {
  if (ctx.presence.mode !== 'federated') return;
  const now = ctx.clock.now();
  const push: Json = own(content, 'push') ?? [];
  const told = new Map<UserId, Presence>();
  for (const update of Array.isArray(push) ? push.slice(0, MOST_USERS) : []) {
    const userId: Json | undefined = isObject(update) ? own(update, 'user_id') : undefined;
    const state = isObject(update) ? presenceOf(update, now) : undefined;
    if (isUserId(userId) && belongsTo(userId, origin) && state !== undefined) told.set(userId, state);
  }
  const known = await memberships.sharingWithServer(ctx.db, ctx.serverName, told.keys());
  for (const userId of known) {
    const state = told.get(userId);
    if (state !== undefined) ctx.presence.receive(userId, state);
  }
}

/** Undefined for what is malformed. */
function presenceOf(update: JsonObject, now: number): Presence | undefined {
  const state = STATES.find((known) => known === own(update, 'presence'));
  const ago = integerAt(update, 'last_active_ago');
  if (state === undefined) return undefined;
  return {
    state,
    statusMsg: stringAt(update, 'status_msg')?.slice(0, LONGEST_STATUS) || undefined,
    lastActiveTs: ago === undefined || ago < 0 ? undefined : Math.max(0, now - ago),
    isActive: own(update, 'currently_active') === true,
  };
}
