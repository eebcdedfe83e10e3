/**
 * Leaving a room that this server is not in: declining an invitation, or taking back a knock.
 * https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
 */

import type { RoomId, ServerName, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { eventFromTemplate } from '#rooms/build.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { recordOutOfBandLeave } from '#rooms/out-of-band.ts';
import { referenceHashesOf } from '#rooms/references.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import type { RoomVersionRules } from '#rooms/versions.ts';
import { roomWeAreIn } from '../access.ts';
import type { FederationContext } from '../context.ts';
import { pull } from '../inbound/pull.ts';
import { newLimits } from '../inbound/source.ts';
import { makeLeave, sendLeave } from '../remote/memberships.ts';
import { originFor, readTemplate } from './template.ts';

export interface RemoteLeave {
  readonly roomId: RoomId;
  readonly userId: UserId;
  /** Of the leave event; `membership` is added. */
  readonly content: JsonObject;
  readonly rules: RoomVersionRules;
  /** The invitation that is declined, or the knock that is taken back. */
  readonly ended: StoredEvent;
  /** Servers that may be in the room, the likeliest first. */
  readonly servers: readonly ServerName[];
}

/** A user who declines does not wait for servers that are slow. */
const DEADLINE_MS = 30_000;

/**
 * Declines an invitation or takes back a knock, with the room where one of its servers answers, and in any case for our own user. False
 * where there is nothing to decline any more.
 */
export async function leaveRemotely(ctx: FederationContext, leave: RemoteLeave): Promise<boolean> {
  const told = await tellServers(ctx, leave);
  const event = told?.event ?? leaveAfter(ctx, leave);
  const recorded = await recordOutOfBandLeave(ctx, {
    rules: event.rules,
    leave: event,
    ended: leave.ended.event.eventId,
  });
  if (recorded.kind !== 'in_room') return recorded.kind === 'recorded';
  if (told === undefined) return false;
  await takeIntoOurs(ctx, told);
  return true;
}

/** Another of our users has joined meanwhile: nobody sends us what we have handed in ourselves. */
async function takeIntoOurs(ctx: FederationContext, { event, server }: Told): Promise<void> {
  const room = await roomWeAreIn(ctx, event.roomId);
  if (room === undefined) return;
  const received = await pull(ctx, room, event, {
    origin: server,
    ...newLimits(AbortSignal.timeout(DEADLINE_MS)),
  });
  const { roomId, eventId } = event;
  ctx.log.info({ roomId, eventId, kind: received.kind }, 'a leave was taken into a room joined meanwhile');
}

interface Told {
  readonly event: VerifiedEvent;
  /** The server that took it. */
  readonly server: ServerName;
}

async function tellServers(ctx: FederationContext, leave: RemoteLeave): Promise<Told | undefined> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  for (const server of leave.servers) {
    // One after the other: one that takes it is enough.
    const event = await leaveThrough(ctx, server, leave, signal);
    if (event !== undefined) return { event, server };
    if (signal.aborted) return undefined;
  }
  return undefined;
}

async function leaveThrough(
  ctx: FederationContext,
  server: ServerName,
  { roomId, userId, content, rules: known }: RemoteLeave,
  signal: AbortSignal,
): Promise<VerifiedEvent | undefined> {
  const template = await makeLeave(ctx, server, { roomId, userId }, { signal });
  if (template.kind === 'failed') return undefined;
  const read = readTemplate(template.value, { roomId, userId, membership: 'leave' });
  if (read.kind !== 'ok' || !areAlike(read.parts.rules, known)) return undefined;
  const { references, depth } = read.parts;
  const event = eventFromTemplate(ctx, {
    ...{ rules: known, roomId, ...references, depth, origin: originFor(ctx, server) },
    sender: userId,
    type: 'm.room.member',
    stateKey: userId,
    content: { ...content, membership: 'leave' },
  });
  const sent = await sendLeave(ctx, server, { roomId, eventId: event.eventId, pdu: event.pdu }, { signal });
  return sent.kind === 'ok' ? event : undefined;
}

/** "If not provided, the room version is assumed to be either 1 or 2", whose events are made alike. */
function areAlike(told: RoomVersionRules, known: RoomVersionRules): boolean {
  return told.version === known.version || (told.eventIds === 'chosen' && known.eventIds === 'chosen');
}

/** Where nobody can be told: an event for our own user's eyes, upon the one that it ends. */
function leaveAfter(ctx: FederationContext, { userId, content, rules, ended }: RemoteLeave): VerifiedEvent {
  const { eventId, roomId, depth } = ended.event;
  return eventFromTemplate(ctx, {
    ...{ rules, roomId, sender: userId, type: 'm.room.member', stateKey: userId },
    content: { ...content, membership: 'leave' },
    prevEvents: [eventId],
    authEvents: [eventId],
    referenceHashes: referenceHashesOf([ended.event], rules),
    depth: Math.min(depth + 1, Number.MAX_SAFE_INTEGER),
  });
}
