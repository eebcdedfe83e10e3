/**
 * Knocking on a room by way of a server that is in it: https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms
 *
 * 1. make_knock: a template, of which we take the references to other events, and nothing else.
 * 2. The knock is our own, built and signed here.
 * 3. send_knock: what we are shown of the room.
 * 4. The knock is kept as an invitation is, since we have no graph to put it in.
 *
 * Where one server fails, the next one is asked.
 */

import type { RoomId, ServerName, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { eventFromTemplate } from '#rooms/build.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { adoptKnock } from '#rooms/out-of-band.ts';
import { JOINABLE_VERSIONS } from '#rooms/versions.ts';
import type { FederationContext } from '../context.ts';
import { makeKnock, sendKnock } from '../remote/memberships.ts';
import { type Candidates, throughOneOf } from './candidates.ts';
import { readShownState } from './shown-state.ts';
import { type HandshakeFailure, handshakeFailure, readTemplate, type TemplateParts } from './template.ts';

export interface RemoteKnock {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly candidates: Candidates;
  /** Of the knock event; `membership` is added. */
  readonly content: JsonObject;
}

export type KnockResult = { readonly kind: 'knocked' } | HandshakeFailure;

/** For all servers together: somebody waits. */
const DEADLINE_MS = 60_000;
/** For the keys that what we are shown is signed with. */
const KEYS_DEADLINE_MS = 10_000;

/** Knocks on a room that this server is not in. */
export async function knockRemotely(ctx: FederationContext, knock: RemoteKnock): Promise<KnockResult> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const failure = await throughOneOf(knock.candidates, signal, async (server) => {
    const result = await knockThrough(ctx, server, knock, signal);
    if (result.kind === 'knocked') return undefined;
    ctx.log.info({ server, roomId: knock.roomId, reason: result.reason }, 'could not knock through a server');
    return result;
  });
  return failure ?? { kind: 'knocked' };
}

async function knockThrough(
  ctx: FederationContext,
  server: ServerName,
  knock: RemoteKnock,
  signal: AbortSignal,
): Promise<KnockResult> {
  const { roomId, userId } = knock;
  const asked = { roomId, userId, versions: JOINABLE_VERSIONS };
  const template = await makeKnock(ctx, server, asked, { signal });
  if (template.kind === 'failed') return handshakeFailure(template);
  const read = readTemplate(template.value, { roomId, userId, membership: 'knock' });
  if (read.kind !== 'ok') return read;
  const { rules } = read.parts;
  const event = buildKnock(ctx, knock, read.parts);
  const sent = await sendKnock(ctx, server, { roomId, eventId: event.eventId, pdu: event.pdu }, { signal });
  if (sent.kind === 'failed') return handshakeFailure(sent);
  const keysSignal = AbortSignal.any([signal, AbortSignal.timeout(KEYS_DEADLINE_MS)]);
  const shown = await readShownState(ctx, { rules, roomId, as: 'knock' }, sent.value, keysSignal);
  if (shown.fault !== undefined) {
    ctx.log.info(
      { server, roomId, reason: shown.fault },
      'what a server shows of a room is not as it must be',
    );
  }
  const adopted = await adoptKnock(ctx, { rules, knock: event, strippedState: shown.events, via: server });
  // Where another of our users has joined meanwhile, the knock comes back by the room.
  return adopted.kind === 'refused' ? { kind: 'forbidden', reason: adopted.reason } : { kind: 'knocked' };
}

function buildKnock(
  ctx: FederationContext,
  { roomId, userId, content }: RemoteKnock,
  { rules, references, depth }: TemplateParts,
): VerifiedEvent {
  const { join_authorised_via_users_server: _, ...given } = content;
  return eventFromTemplate(ctx, {
    ...{ rules, ...references, depth, roomId },
    content: { ...given, membership: 'knock' },
    sender: userId,
    type: 'm.room.member',
    stateKey: userId,
  });
}
