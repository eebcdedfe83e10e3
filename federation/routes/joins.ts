/** Letting users of other servers in: https://spec.matrix.org/v1.19/server-server-api/#joining-rooms */

import type { FastifyInstance } from 'fastify';
import { belongsTo, type EventId, isUserId, type ServerName, type UserId } from '#keys/ids.ts';
import { type JsonObject, objectAt, own } from '#keys/json.ts';
import { authChain } from '#rooms/graph.ts';
import { authoriseRestrictedJoin } from '#rooms/restricted.ts';
import { joinedServers, type Room } from '#rooms/room.ts';
import { countersign } from '#rooms/sign-event.ts';
import { stateAt, stateWithoutMembersAt } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { summaryFor } from '#rooms/summary.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { forbidden, incompatibleRoomVersion, unableToAuthoriseJoin, unableToGrantJoin } from '../errors.ts';
import { sendEventLists } from '../event-lists.ts';
import { pduOf, takeIntoRoom, verifiedMembership } from '../handshakes/handed-in.ts';
import { type HandshakesContext, takeHandshake } from '../handshakes/limit.ts';
import { inviteUnderWay } from '../handshakes/under-way.ts';
import { memberTemplate, ownUserParam } from '../member-template.ts';
import { residentRoom } from '../room-params.ts';

/** `GET make_join/{roomId}/{userId}`, and `PUT send_join/{roomId}/{eventId}` of v2 and of v1. */
export function joinsRoutes(app: FastifyInstance, ctx: HandshakesContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.get<{ Params: { roomId: string; userId: string }; Querystring: Record<string, unknown> }>(
    '/_matrix/federation/v1/make_join/:roomId/:userId',
    { preHandler },
    async ({ origin, params, query }) => {
      const userId = ownUserParam(params.userId, origin);
      const versions = versionsIn(query.ver);
      if (query.ver !== undefined) await ctx.partners.learn(origin, { kind: 'knows_versions', versions });
      const room = await residentRoom(ctx, origin, params.roomId);
      await inviteUnderWay(ctx, room.roomId, userId);
      await ctx.refuseBridgedJoin?.(room.roomId, userId);
      const { version } = room.rules;
      if (!versions.includes(version)) throw incompatibleRoomVersion(version);
      return memberTemplate(ctx, room, userId, await joinContent(ctx, room, userId));
    },
  );

  for (const version of ['v1', 'v2']) {
    app.put<{ Params: { roomId: string; eventId: string }; Querystring: Record<string, unknown> }>(
      `/_matrix/federation/${version}/send_join/:roomId/:eventId`,
      { preHandler },
      async (request, reply) => {
        takeHandshake(ctx, request.origin, request.params.roomId);
        const omitsMembers = version === 'v2' && request.query.omit_members === 'true';
        const { members, lists } = await letIn(ctx, request, omitsMembers);
        return sendEventLists(reply, members, lists, { asPair: version === 'v1' });
      },
    );
  }
}

/** Takes the join into the room; answers what there was before it. */
async function letIn(
  ctx: FederationContext,
  request: { origin: ServerName; params: { roomId: string; eventId: string }; rawBody: Buffer },
  omitsMembers: boolean,
): Promise<{ members: JsonObject; lists: { state: string[]; auth_chain: string[] } }> {
  const { origin, params } = request;
  const room = await residentRoom(ctx, origin, params.roomId);
  const { rules, roomId } = room;
  const pdu = await authorised(ctx, room, pduOf(request.rawBody.toString(), rules), origin);
  const { eventId } = params;
  const expected = { rules, roomId, eventId, origin, membership: 'join' } as const;
  const servers = await joinedServers(ctx, room.roomNid);
  const join = await verifiedMembership(ctx, pdu, expected);
  await ctx.refuseBridgedJoin?.(roomId, join.sender);
  const stored = await takeIntoRoom(ctx, room, join);
  const { state, chain } = omitsMembers
    ? await stateForFewer(ctx, room, stored)
    : await stateForAll(ctx, stored);
  return {
    members: {
      origin: ctx.serverName,
      event: stored.event.pdu,
      members_omitted: omitsMembers,
      servers_in_room: servers,
    },
    lists: {
      state: state.map(({ event }) => event.json),
      auth_chain: chain.map(({ event }) => event.json),
    },
  };
}

interface JoinedState {
  /** "The resolved current room state prior to the join event." */
  readonly state: readonly StoredEvent[];
  /** "All events in the auth chain for the new join event, as well as those [...] for any events returned in `state`." */
  readonly chain: readonly StoredEvent[];
}

async function stateForAll(ctx: FederationContext, join: StoredEvent): Promise<JoinedState> {
  const state = await stateAt(ctx, join, 'before');
  return { state, chain: await authChain(ctx, [join, ...state].map(eventIdOf)) };
}

/**
 * For `omit_members`: of the members only those that the room is named after, where it has no name; "any events that
 * are returned in `state` may be omitted from `auth_chain`".
 */
async function stateForFewer(ctx: FederationContext, room: Room, join: StoredEvent): Promise<JoinedState> {
  const { heroes = [] } = await summaryFor(ctx, room.roomNid, join.event.sender);
  const state = await stateWithoutMembersAt(ctx, join, 'before', heroes);
  const told = new Set(state.map(eventIdOf));
  const chain = await authChain(ctx, [join, ...state].map(eventIdOf));
  return { state, chain: chain.filter((stored) => !told.has(eventIdOf(stored))) };
}

function eventIdOf({ event }: StoredEvent): EventId {
  return event.eventId;
}

/** "The room versions the sending server has support for. Defaults to [1]." */
function versionsIn(ver: unknown): readonly string[] {
  const listed: readonly unknown[] = Array.isArray(ver) ? ver : [ver ?? '1'];
  return listed.filter((version) => typeof version === 'string');
}

async function joinContent(ctx: FederationContext, room: Room, userId: UserId): Promise<JsonObject> {
  const authoriser = await authoriserOf(ctx, room, userId);
  return {
    membership: 'join',
    ...(authoriser !== undefined && { join_authorised_via_users_server: authoriser }),
  };
}

/** Who of ours lets the user into a restricted room; undefined where nobody needs to. */
async function authoriserOf(ctx: FederationContext, room: Room, userId: UserId): Promise<UserId | undefined> {
  const join = await authoriseRestrictedJoin(ctx, room, userId);
  switch (join.kind) {
    case 'not_needed':
      return undefined;
    case 'authorised':
      return join.by;
    case 'refused':
      throw forbidden('The user is in none of the rooms whose members may join');
    case 'unable_to_authorise':
      throw unableToAuthoriseJoin();
    case 'unable_to_grant':
      throw unableToGrantJoin();
  }
}

/**
 * The join with our signature, where it names one of our users as who lets the user in: "the signature must be added
 * before sending or persisting the event to other servers". Only after the conditions have been looked at again.
 */
async function authorised(
  ctx: FederationContext,
  room: Room,
  pdu: JsonObject,
  origin: ServerName,
): Promise<JsonObject> {
  const named = own(objectAt(pdu, 'content') ?? {}, 'join_authorised_via_users_server');
  if (!room.rules.restrictedJoins || !isUserId(named) || !belongsTo(named, ctx.serverName)) return pdu;
  const userId = own(pdu, 'sender');
  if (!isUserId(userId) || !belongsTo(userId, origin)) throw forbidden('The sender is of another server');
  await authoriserOf(ctx, room, userId);
  return countersign(pdu, room.rules, ctx.serverName, ctx.signingKey.keyPair);
}
