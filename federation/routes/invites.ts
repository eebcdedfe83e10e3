/**
 * Invitations of our users by users of other servers: we sign them, and keep what we are told of the room.
 * https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
 */

import type { FastifyInstance } from 'fastify';
import { encodeCanonical, splitArrayAt } from '#keys/canonical-json.ts';
import { belongsTo, isUserId, type RoomId, type ServerName } from '#keys/ids.ts';
import { isObject, type JsonObject, stringAt } from '#keys/json.ts';
import { membersOf } from '#keys/json-scan.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { adoptInvite } from '#rooms/out-of-band.ts';
import { getRoom } from '#rooms/room.ts';
import { countersign } from '#rooms/sign-event.ts';
import { type RoomVersionRules, supportedRulesOf } from '#rooms/versions.ts';
import { isAllowedByAcl, roomWeAreIn } from '../access.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import {
  badJson,
  forbidden,
  incompatibleRoomVersion,
  invalidParam,
  inviteBlocked,
  missingParam,
  notFound,
} from '../errors.ts';
import { pduOf, verifiedMembership } from '../handshakes/handed-in.ts';
import { takeInvite } from '../handshakes/resident-invite.ts';
import { readShownState } from '../handshakes/shown-state.ts';
import { verifyPdu } from '../inbound/verify.ts';
import { blocksInvites } from '../invite-permission.ts';
import { ownUser } from '../own-user.ts';
import { roomIdParam } from '../room-params.ts';

interface InviteParams {
  Params: { roomId: string; eventId: string };
}

interface Invitation {
  readonly origin: ServerName;
  readonly roomId: RoomId;
  readonly eventId: string;
  readonly rules: RoomVersionRules;
  readonly pdu: JsonObject;
  /** The text of each event of `invite_room_state`. */
  readonly state: readonly string[];
}

export interface InvitesContext extends FederationContext {
  /** `take` throws where a server has invited a user too often of late. */
  readonly limits: { take(kind: 'invite_user', key: string): void };
}

const KEYS_DEADLINE_MS = 20_000;

/** `PUT v2/invite/{roomId}/{eventId}`, and v1 of it, which is for room versions 1 and 2. */
export function invitesRoutes(app: FastifyInstance, ctx: InvitesContext): void {
  const preHandler = authenticateOrigin(ctx);

  app.put<InviteParams>(
    '/_matrix/federation/v2/invite/:roomId/:eventId',
    { preHandler },
    async ({ origin, params, body, rawBody }) => {
      if (!isObject(body)) throw badJson('The body is not an object');
      const text = rawBody.toString();
      const version = stringAt(body, 'room_version');
      if (version === undefined) throw missingParam('room_version');
      const pdu = memberText(text, 'event');
      if (pdu === undefined) throw missingParam('event');
      const roomId = roomIdParam(params.roomId);
      const rules = rulesFor(version);
      const invitation = { origin, roomId, eventId: params.eventId, rules, pdu: pduOf(pdu, rules) };
      const state = splitArrayAt(text, 'invite_room_state') ?? [];
      return { event: await accept(ctx, { ...invitation, state }) };
    },
  );

  app.put<InviteParams>(
    '/_matrix/federation/v1/invite/:roomId/:eventId',
    { preHandler },
    async ({ origin, params, rawBody }) => {
      const text = rawBody.toString();
      const roomId = roomIdParam(params.roomId);
      // "Servers which receive a v1 invite request must assume that the room version is either "1" or "2"."
      const known = await getRoom(ctx, roomId);
      const rules = known?.rules.eventIds === 'chosen' ? known.rules : rulesFor('1');
      const pdu = pduOf(text, rules);
      const unsigned = memberText(text, 'unsigned') ?? '{}';
      const state = splitArrayAt(unsigned, 'invite_room_state') ?? [];
      const { eventId } = params;
      return [200, { event: await accept(ctx, { origin, roomId, eventId, rules, pdu, state }) }];
    },
  );
}

/** Signs the invitation and tells it to the user; answers it with our signature. */
async function accept(ctx: InvitesContext, invitation: Invitation): Promise<JsonObject> {
  const { origin, roomId, eventId, rules, pdu, state } = invitation;
  const expected = { rules, roomId, eventId, origin, membership: 'invite' } as const;
  const room = await roomWeAreIn(ctx, roomId);
  if (room !== undefined && !(await isAllowedByAcl(ctx, room, origin))) {
    throw forbidden('The server is denied access to the room');
  }
  const event = await verifiedMembership(ctx, pdu, expected);
  await checkTarget(ctx, event);
  // For each server by itself: one that floods a user must not keep the others from inviting.
  if (!ctx.partners.profileOf(origin).rateExempt) {
    ctx.limits.take('invite_user', `${origin} ${event.stateKey}`);
  }
  const signal = AbortSignal.timeout(KEYS_DEADLINE_MS);
  const shown = await readShownState(ctx, { rules, roomId, as: 'invite' }, state, signal);
  if (shown.fault !== undefined) throw invalidParam(`invite_room_state: ${shown.fault}`);
  const signed = countersign(event.pdu, rules, ctx.serverName, ctx.signingKey.keyPair);
  const verdict = await verifyPdu(ctx, rules, encodeCanonical(signed), signal);
  if (verdict.kind === 'dropped') throw invalidParam(verdict.reason);
  const adopted = await adoptInvite(ctx, { rules, invite: verdict.event, strippedState: shown.events });
  if (adopted.kind === 'refused') throw forbidden(adopted.reason);
  if (adopted.kind === 'in_room') {
    const taken = await takeInvite(ctx, verdict.event);
    if (taken.kind === 'refused') throw forbidden(taken.reason);
  }
  return signed;
}

async function checkTarget(ctx: FederationContext, { stateKey, sender }: VerifiedEvent): Promise<void> {
  if (!isUserId(stateKey) || !belongsTo(stateKey, ctx.serverName)) {
    throw invalidParam('The invited user is of another server');
  }
  const user = await ownUser(ctx, stateKey);
  if (user === undefined || user.deactivatedTs !== undefined) throw notFound('There is no such user');
  if (await blocksInvites(ctx.db, stateKey, sender)) throw inviteBlocked();
}

function rulesFor(version: string): RoomVersionRules {
  const rules = supportedRulesOf(version);
  if (rules === undefined) throw incompatibleRoomVersion(version);
  return rules;
}

/** The text of one member of a JSON object; of several with the same name, the last. */
function memberText(text: string, key: string): string | undefined {
  let found: string | undefined;
  for (const [name, start, end] of membersOf(text)) if (name === key) found = text.slice(start, end);
  return found;
}
