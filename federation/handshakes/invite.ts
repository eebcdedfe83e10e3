/**
 * Inviting a user of another server: their server signs the invitation before the room gets it.
 * https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
 */

import { encodeCanonical } from '#keys/canonical-json.ts';
import { verify } from '#keys/ed25519.ts';
import { type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import { integerAt, isObject, type JsonObject } from '#keys/json.ts';

import { signableBytes, signaturesOf } from '#keys/sign-json.ts';
import { admitsServer, NOT_FEDERATED } from '#rooms/auth/federate.ts';
import { buildTemplate, eventFromTemplate } from '#rooms/build.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { askedToSign } from '#rooms/policy.ts';
import { receive } from '#rooms/receive.ts';
import { redact } from '#rooms/redact.ts';
import { readReferences } from '#rooms/references.ts';
import type { Room } from '#rooms/room.ts';
import { currentStateEvent } from '#rooms/state.ts';
import type { FederationFailure } from '../client.ts';
import type { FederationContext } from '../context.ts';
import { verifyPdu } from '../inbound/verify.ts';
import { notSigned } from '../policy/not-signed.ts';
import { invite as sendInvite } from '../remote/memberships.ts';
import { shownStateOf } from './shown-state.ts';
import { type HandshakeFailure, handshakeFailure, withSignatureOf } from './template.ts';
import { whileInviting } from './under-way.ts';

export interface RemoteInvite {
  readonly room: Room;
  /** One of our users. */
  readonly sender: UserId;
  /** Of another server. */
  readonly target: UserId;
  /** Of the invite event; `membership` is added. */
  readonly content: JsonObject;
}

export type InviteResult = { readonly kind: 'invited' } | HandshakeFailure;

const DEADLINE_MS = 60_000;

/** Invites a user of another server into a room that we are in. */
export async function inviteRemotely(ctx: FederationContext, invite: RemoteInvite): Promise<InviteResult> {
  const { room, target } = invite;
  const server = serverNameOf(target);
  if (server === undefined) return { kind: 'not_found', reason: 'The user id names no server' };
  // The authorisation rules look at the sender's server only: the room would take the invitation, and never the join.
  const create = await currentStateEvent(ctx, room.roomNid, 'm.room.create', '');
  if (create !== undefined && !admitsServer(create.event, server)) {
    return { kind: 'forbidden', reason: NOT_FEDERATED };
  }
  return whileInviting(ctx, { roomId: room.roomId, userId: target }, () => inviteBy(ctx, invite, server));
}

async function inviteBy(
  ctx: FederationContext,
  invite: RemoteInvite,
  server: ServerName,
): Promise<InviteResult> {
  const { room } = invite;
  const built = await buildInvite(ctx, invite);
  if (built.kind !== 'ok') return built;
  // Before anybody is told of it.
  const asked = await askedToSign(ctx, room, built.event);
  if (asked.kind !== 'event') return notSigned(asked);
  const { event } = asked;
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const answer = await sendInvite(
    ctx,
    server,
    {
      roomId: room.roomId,
      eventId: event.eventId,
      roomVersion: room.rules.version,
      pdu: event.pdu,
      inviteRoomState: await shownStateOf(ctx, room, invite.sender),
    },
    { signal },
  );
  if (answer.kind === 'failed') return notInvited(ctx, { room, server, answer });
  const signed = await countersigned(ctx, event, { server, copy: answer.value, signal });
  if (signed === undefined) return { kind: 'unreachable', reason: 'The server did not sign the invitation' };
  // The other server may have sent back its own signature alone.
  const whole = await askedToSign(ctx, room, signed);
  if (whole.kind !== 'event') return notSigned(whole);
  const received = await receive(ctx, room, whole.event, { as: 'live', relay: true });
  if (received.kind === 'accepted' || received.kind === 'known') return { kind: 'invited' };
  const reason = 'reason' in received ? received.reason : undefined;
  return { kind: 'forbidden', reason: reason ?? 'The room has changed meanwhile' };
}

/** A server that cannot be in rooms of this version is remembered for it: the next room for it is of another. */
async function notInvited(
  ctx: FederationContext,
  { room, server, answer }: { room: Room; server: ServerName; answer: FederationFailure },
): Promise<HandshakeFailure> {
  const { version } = room.rules;
  if (!refusesVersion(answer)) return handshakeFailure(answer);
  await ctx.partners.learn(server, { kind: 'refuses_version', version });
  const reason =
    `${server} does not support room version ${version}. ` +
    'Make a new room, and invite its users as you make it: a version that all can be in is picked then';
  return { kind: 'incompatible', roomVersion: version, reason };
}

/** By the error code, or by the words of Rocket.Chat, which answers with 500. */
function refusesVersion({ status, errcode, message }: FederationFailure): boolean {
  if (errcode === 'M_INCOMPATIBLE_ROOM_VERSION' || errcode === 'M_UNSUPPORTED_ROOM_VERSION') return true;
  return status === 500 && /\broom version \S{1,20} is not supported/i.test(message);
}

/** The invite event, signed by us, where the room allows it. */
export async function buildInvite(
  ctx: FederationContext,
  { room, sender, target, content }: RemoteInvite,
): Promise<{ readonly kind: 'ok'; readonly event: VerifiedEvent } | HandshakeFailure> {
  const { roomId, rules } = room;
  const { join_authorised_via_users_server: _, ...given } = content;
  const draft = {
    ...{ roomId, sender, type: 'm.room.member', stateKey: target },
    content: { ...given, membership: 'invite' },
  };
  const built = await buildTemplate(ctx, room, draft);
  if (built.kind === 'forbidden') return built;
  const { template } = built;
  const event = eventFromTemplate(ctx, {
    ...{ rules, roomId, sender, type: draft.type, stateKey: target, content: draft.content },
    ...readReferences(template, rules),
    depth: integerAt(template, 'depth') ?? 0,
  });
  return { kind: 'ok', event };
}

/** Our event with the other server's signature; undefined where it did not sign this very event. */
async function countersigned(
  ctx: FederationContext,
  ours: VerifiedEvent,
  by: { readonly server: ServerName; readonly copy: string; readonly signal: AbortSignal },
): Promise<VerifiedEvent | undefined> {
  const copy: unknown = JSON.parse(by.copy);
  if (!isObject(copy)) return undefined;
  const pdu = withSignatureOf(ours.pdu, copy, by.server);
  if (!(await isSignedBy(ctx, ours, { ...by, pdu }))) return undefined;
  const verdict = await verifyPdu(ctx, ours.rules, encodeCanonical(pdu), by.signal);
  return verdict.kind === 'verified' && !verdict.redacted ? verdict.event : undefined;
}

async function isSignedBy(
  ctx: FederationContext,
  { rules, originServerTs: atTs }: VerifiedEvent,
  by: { readonly server: ServerName; readonly pdu: JsonObject; readonly signal: AbortSignal },
): Promise<boolean> {
  const message = signableBytes(redact(by.pdu, rules));
  for (const [keyId, signature] of [...signaturesOf(by.pdu, by.server)].slice(0, 2)) {
    const { signal } = by;
    const strictValidity = rules.strictKeyValidity;
    // One after the other: there is one.
    const key = await ctx.keyRing.keyFor(by.server, keyId, { atTs, strictValidity, signal });
    if (key !== undefined && (await verify(key, message, signature))) return true;
  }
  return false;
}
