/** Invitations to third-party identifiers: https://spec.matrix.org/v1.19/server-server-api/#third-party-invites */

import type { FastifyInstance } from 'fastify';
import { belongsTo, isRoomId, isUserId, type UserId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import * as users from '#storage/users.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { badJson, forbidden, handshakeRefused, invalidParam, notFound, unreachable } from '../errors.ts';
import { exchangeInvite, issueInvite, type ThirdPartyInvite } from '../handshakes/third-party-invite.ts';
import { residentRoom } from '../room-params.ts';

export interface ThirdPartyInvitesContext extends FederationContext {
  readonly limits: { take(kind: 'invite_user' | 'threepid_bind', key: string): void };
}

/** Nobody has more that wait. */
const MOST_INVITES = 50;

/** `PUT exchange_third_party_invite/{roomId}` and `PUT 3pid/onbind`. */
export function thirdPartyInvitesRoutes(app: FastifyInstance, ctx: ThirdPartyInvitesContext): void {
  app.put<{ Params: { roomId: string } }>(
    '/_matrix/federation/v1/exchange_third_party_invite/:roomId',
    { preHandler: authenticateOrigin(ctx) },
    async ({ origin, params, body }) => {
      const room = await residentRoom(ctx, origin, params.roomId);
      const invite = partialInvite(body);
      const { roomId, sender, target } = invite;
      if (roomId !== room.roomId) throw invalidParam('The event is of another room');
      if (!belongsTo(target, origin)) throw forbidden('The invited user is of another server');
      // Their server takes an invitation from the server of who invites only.
      if (!belongsTo(sender, ctx.serverName)) throw forbidden('The sender is of another server');
      ctx.limits.take('invite_user', `${origin} ${target}`);
      const issued = await issueInvite(ctx, room, invite);
      if (issued.kind !== 'invited') throw handshakeRefused(issued);
      return {};
    },
  );

  // By identity servers, who sign nothing but what they say of the user. Sydent says POST where the specification says PUT.
  app.route({
    method: ['PUT', 'POST'],
    url: '/_matrix/federation/v1/3pid/onbind',
    handler: async ({ body, ip }) => {
      ctx.limits.take('threepid_bind', ip);
      if (!isObject(body)) throw badJson('The body is not an object');
      const target = await boundUser(ctx, body);
      // Sydent leaves it out where nobody waits for the address.
      const list = own(body, 'invites') ?? [];
      if (!Array.isArray(list)) throw badJson('invites is not a list');
      await exchangeAll(ctx, pendingInvites(list, target));
      return {};
    },
  });
}

/** "A partial `m.room.member` event." */
function partialInvite(body: unknown): ThirdPartyInvite {
  if (!isObject(body)) throw badJson('The body is not an object');
  const content = objectAt(body, 'content') ?? {};
  if (stringAt(body, 'type') !== 'm.room.member') throw invalidParam('The event is no membership');
  if (stringAt(content, 'membership') !== 'invite') throw invalidParam('The membership is not invite');
  const [roomId, sender, target] = [own(body, 'room_id'), own(body, 'sender'), own(body, 'state_key')];
  if (!isRoomId(roomId)) throw badJson('room_id is not a room id');
  if (!isUserId(sender)) throw badJson('sender is not a user id');
  if (!isUserId(target)) throw badJson('state_key is not a user id');
  const thirdParty = objectAt(content, 'third_party_invite') ?? {};
  const signed = objectAt(thirdParty, 'signed');
  if (signed === undefined) throw badJson('The third-party invite is not signed');
  return { roomId, sender, target, signed, displayName: stringAt(thirdParty, 'display_name') };
}

/** The user that the third-party identifier has been bound to: one of ours. */
async function boundUser(ctx: FederationContext, body: JsonObject): Promise<UserId> {
  const userId = own(body, 'mxid');
  if (!isUserId(userId)) throw badJson('mxid is not a user id');
  const user = belongsTo(userId, ctx.serverName) ? await users.of(ctx.db, userId) : undefined;
  if (user === undefined || user.deactivatedTs !== undefined) throw notFound('There is no such user');
  return userId;
}

/** What is no invitation of this user, signed by somebody, is passed over: it takes nothing from the others. */
function pendingInvites(list: readonly Json[], target: UserId): ThirdPartyInvite[] {
  const pending = new Map<string, ThirdPartyInvite>();
  for (const item of list.slice(0, MOST_INVITES)) {
    if (!isObject(item)) continue;
    const [roomId, sender, signed] = [own(item, 'room_id'), own(item, 'sender'), objectAt(item, 'signed')];
    if (!isRoomId(roomId) || !isUserId(sender) || signed === undefined) continue;
    const token = stringAt(signed, 'token');
    const isSigned = Object.keys(objectAt(signed, 'signatures') ?? {}).length > 0;
    if (stringAt(signed, 'mxid') !== target || token === undefined || !isSigned) continue;
    pending.set(`${roomId} ${token}`, { roomId, sender, target, signed });
  }
  return [...pending.values()];
}

/**
 * Has the user invited to each room. What is refused is refused for good; where a server did not answer the identity
 * server is told so, that it may tell us again: what has succeeded is not done twice.
 */
async function exchangeAll(ctx: FederationContext, invites: readonly ThirdPartyInvite[]): Promise<void> {
  const results = await Promise.all(invites.map((invite) => exchangeInvite(ctx, invite)));
  for (const [index, result] of results.entries()) {
    if (result.kind === 'invited') continue;
    const { roomId, sender, target } = invites[index] ?? {};
    ctx.log.info({ roomId, sender, target, reason: result.reason }, 'a third-party invite came to nothing');
  }
  if (results.some(({ kind }) => kind === 'unreachable')) {
    throw unreachable('A server that invites the user did not answer');
  }
}
