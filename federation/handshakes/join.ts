/**
 * Joining a room by way of a server that is in it.
 * https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 *
 * 1. make_join: a template, of which we take the references to other events, and nothing else.
 * 2. The join event is our own, built and signed here.
 * 3. send_join: the room's state and the auth chains, each event verified by itself as it comes; one that is not valid
 *    is left out, without harm to the others. What comes waits in a spool until the answer has ended well.
 * 4. The room is adopted, all at once.
 *
 * Where one server fails, the next one is asked.
 */

import { encodeCanonical } from '#keys/canonical-json.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { eventFromTemplate } from '#rooms/build.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { adoptRoom } from '#rooms/told/adopt.ts';
import type { ToldList } from '#rooms/told/told-state.ts';
import { JOINABLE_VERSIONS } from '#rooms/versions.ts';
import { failure } from '../client.ts';
import type { FederationContext } from '../context.ts';
import { verifyPdu } from '../inbound/verify.ts';
import { StallLimit } from '../network/time-limit.ts';
import type { Remote } from '../remote/answer.ts';
import { makeJoin, sendJoin } from '../remote/memberships.ts';
import { type Candidates, throughOneOf } from './candidates.ts';
import { JoinProgress } from './join-progress.ts';
import type { SendJoinAnswer } from './joined-state.ts';
import { StateIntake } from './state-intake.ts';
import {
  type HandshakeFailure,
  handshakeFailure,
  originFor,
  readTemplate,
  type TemplateParts,
  withSignatureOf,
} from './template.ts';

export interface RemoteJoin {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly candidates: Candidates;
  /** Of the join event; `membership` is added. */
  readonly content: JsonObject;
}

export type JoinResult = { readonly kind: 'joined' } | HandshakeFailure;

/** For all servers together: somebody waits. */
const DEADLINE_MS = 180_000;
/** A server that says nothing more amid its answer is not waited for, where others may be asked. */
const STALL_MS = 30_000;
/** A server that is slow now is slower still with the state of a room. */
const TEMPLATE_TIMEOUT_MS = 15_000;

/** Joins a room that this server is not in, or that it cannot let the user into by itself. */
export async function joinRemotely(ctx: FederationContext, join: RemoteJoin): Promise<JoinResult> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const failure = await throughOneOf(join.candidates, signal, async (server) => {
    const result = await joinThrough(ctx, server, join, signal);
    if (result.kind === 'joined') return undefined;
    ctx.log.info({ server, roomId: join.roomId, reason: result.reason }, 'could not join through a server');
    return result;
  });
  return failure ?? { kind: 'joined' };
}

async function joinThrough(
  ctx: FederationContext,
  server: ServerName,
  join: RemoteJoin,
  signal: AbortSignal,
): Promise<JoinResult> {
  const { roomId, userId } = join;
  const asked = { roomId, userId, versions: JOINABLE_VERSIONS };
  const template = await makeJoin(ctx, server, asked, { signal, timeoutMs: TEMPLATE_TIMEOUT_MS });
  if (template.kind === 'failed') return handshakeFailure(template);
  const read = readTemplate(template.value, { roomId, userId, membership: 'join' });
  if (read.kind !== 'ok') return read;
  const { parts } = read;
  const event = buildJoin(ctx, join, parts, originFor(ctx, server));
  const progress = new JoinProgress(ctx.log, { roomId, server, version: parts.rules.version });
  using intake = new StateIntake(ctx, parts.rules, { signal });
  const sent = await sendAndTake(ctx, server, { event, intake, progress, signal });
  if (sent.kind === 'failed') return handshakeFailure(sent);
  // We asked for all of them, and without them nobody else would be in the room.
  if (sent.value.membersOmitted) return { kind: 'unreachable', reason: 'The server left the members out' };
  await intake.finish();
  progress.received({ events: intake.told.told.length, servers: sent.value.serversInRoom.length });
  // Awaited here: what it reads is gone with the intake.
  const result = await takeOver(ctx, { event, parts, answer: sent.value, intake, signal });
  if (result.kind === 'joined') progress.joined();
  return result;
}

/** The first half of step 3: what comes is with `intake` then. */
async function sendAndTake(
  ctx: FederationContext,
  server: ServerName,
  of: {
    readonly event: VerifiedEvent;
    readonly intake: StateIntake;
    readonly progress: JoinProgress;
    readonly signal: AbortSignal;
  },
): Promise<Remote<SendJoinAnswer>> {
  const { event, intake, progress } = of;
  using stall = new StallLimit(STALL_MS, of.signal);
  const take = (list: ToldList, texts: readonly (string | undefined)[]) =>
    stall.during(async () => {
      await intake.take(list, texts);
      progress.took(texts.length);
    });
  const join = { roomId: event.roomId, eventId: event.eventId, pdu: event.pdu };
  const sent = await sendJoin(ctx, server, join, { signal: stall.signal, timeoutMs: DEADLINE_MS, take });
  return stall.hasStalled ? failure('timeout', 'The server has stopped amid its answer') : sent;
}

/** Step 2. */
function buildJoin(
  ctx: FederationContext,
  join: RemoteJoin,
  parts: TemplateParts,
  origin: ServerName | undefined,
): VerifiedEvent {
  const { rules, references, depth, authoriser } = parts;
  const { join_authorised_via_users_server: _, ...given } = join.content;
  const content = {
    ...given,
    membership: 'join',
    ...(authoriser !== undefined && { join_authorised_via_users_server: authoriser }),
  };
  return eventFromTemplate(ctx, {
    ...{ rules, ...references, depth, content, origin },
    roomId: join.roomId,
    sender: join.userId,
    type: 'm.room.member',
    stateKey: join.userId,
  });
}

/** Steps 3 and 4. */
async function takeOver(
  ctx: FederationContext,
  of: {
    readonly event: VerifiedEvent;
    readonly parts: TemplateParts;
    readonly answer: SendJoinAnswer;
    readonly intake: StateIntake;
    readonly signal: AbortSignal;
  },
): Promise<JoinResult> {
  const { intake } = of;
  const { rules } = of.parts;
  const join = await countersigned(ctx, of);
  if (join === undefined) return { kind: 'unreachable', reason: 'The server did not sign the join' };
  if (intake.firstDropped !== undefined) {
    ctx.log.warn(
      { roomId: join.roomId, events: intake.dropped, ...intake.firstDropped },
      'events of the state of a joined room are not valid',
    );
  }
  const adopted = await adoptRoom(ctx, { rules, join, told: intake.told });
  return adopted.kind === 'joined'
    ? { kind: 'joined' }
    : { kind: 'unreachable', reason: `The state of the room cannot be used: ${adopted.reason}` };
}

/**
 * The join with the signature of who lets the user into a restricted room, without which no server would take it.
 * Undefined where that is missing.
 */
async function countersigned(
  ctx: FederationContext,
  {
    event,
    parts,
    answer,
    signal,
  }: { event: VerifiedEvent; parts: TemplateParts; answer: SendJoinAnswer; signal: AbortSignal },
): Promise<VerifiedEvent | undefined> {
  const { rules, authoriser } = parts;
  const server = authoriser === undefined ? undefined : serverNameOf(authoriser);
  if (server === undefined || server === ctx.serverName) return event;
  const copy: unknown = answer.event === undefined ? undefined : JSON.parse(answer.event);
  if (!isObject(copy)) return undefined;
  const signed = encodeCanonical(withSignatureOf(event.pdu, copy, server));
  const verdict = await verifyPdu(ctx, rules, signed, signal);
  return verdict.kind === 'verified' ? verdict.event : undefined;
}
