/**
 * Events of our own users. Drafts for one room that wait at the same time are built one upon the other and
 * written together, so that a busy room is not held to one event for each flush to disk.
 */

import { belongsTo, type EventId, type RoomId, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { TransactionKey } from '#storage/client-transactions.ts';
import * as clientTransactions from '#storage/client-transactions.ts';
import * as memberships from '#storage/memberships.ts';
import type { RoomsContext } from './context.ts';
import { type Drafted, type Line, lineFrom, planOf, stateFor, tryDraft } from './draft.ts';
import { membershipOf } from './event.ts';
import { loadEvent } from './load.ts';
import { type PersistPlan, persist } from './persist.ts';
import type { Unsigned } from './policy.ts';
import type { RefusedRelation } from './relations/own-relation.ts';
import { getRoom, isInRoom, isOfRemoteMember, joinedServers, type Room } from './room.ts';
import { headOf } from './room-head.ts';
import { placeSigned } from './send-signed.ts';
import { needsNoSignatures } from './sign-line.ts';
import { reviseSticky } from './sticky.ts';
import type { StoredEvent } from './stored-event.ts';

/** What one of our users wants to say in a room. */
export interface Draft {
  readonly roomId: RoomId;
  readonly sender: UserId;
  readonly type: string;
  readonly content: JsonObject;
  readonly stateKey?: string;
  /** The event that it takes the place of in the state: refused where another one stands there by then. */
  readonly upon?: EventId | undefined;
  /** For `m.room.redaction`; where it goes in the event is the room version's matter. */
  readonly redacts?: EventId;
  /** For how long it is sticky, in milliseconds (`sticky.ts`). */
  readonly stickyMs?: number | undefined;
  /** Milliseconds since 1970; now unless given. */
  readonly originServerTs?: number;
  /** The client's transaction: sent again, it gives the same event. */
  readonly txn?: { readonly deviceId: string; readonly txnId: string };
}

export type Sent =
  | { readonly kind: 'sent'; readonly eventId: EventId; readonly position: number }
  /** The room's rules do not allow it. */
  | { readonly kind: 'forbidden'; readonly reason: string }
  /** The server is not in such a room. */
  | { readonly kind: 'unknown_room' }
  /** The policy server of the room has not signed it. */
  | { readonly kind: 'not_signed'; readonly unsigned: Unsigned }
  /** It may not relate to the event that it names. */
  | RefusedRelation
  /** It cannot be an event: too large, or content that canonical JSON cannot hold. */
  | { readonly kind: 'invalid'; readonly reason: string };

interface Waiting {
  readonly draft: Draft;
  readonly resolve: (sent: Sent) => void;
  readonly reject: (error: unknown) => void;
}

const MOST_TOGETHER = 50;
const MOST_WAITING = 1_000;
const ATTEMPTS = 5;

/** Drafts that wait, by room, for each set of rooms. */
const outboxes = new WeakMap<RoomsContext['rooms'], Map<RoomId, Waiting[]>>();

/** Too many events wait for the room already. */
export class RoomBusy extends Error {
  override readonly name = 'RoomBusy';
}

/** Sends one event; resolves once it is on disk. Throws `RoomBusy` where 1,000 wait for the room already. */
export function sendEvent(ctx: RoomsContext, draft: Draft): Promise<Sent> {
  const outbox = outboxOf(ctx);
  const waiting = outbox.get(draft.roomId);
  if (waiting !== undefined && waiting.length >= MOST_WAITING) {
    return Promise.reject(new RoomBusy(`${waiting.length} events wait for the room already`));
  }
  return new Promise((resolve, reject) => {
    const entry = { draft, resolve, reject };
    if (waiting !== undefined) waiting.push(entry);
    else {
      outbox.set(draft.roomId, [entry]);
      void drain(ctx, draft.roomId);
    }
  });
}

/**
 * Sends several events, each built upon the one before, in one transaction: all of them or none. Where one is
 * refused, the answer for each is that refusal.
 */
export async function sendEvents(
  ctx: RoomsContext,
  roomId: RoomId,
  drafts: readonly Draft[],
): Promise<Sent[]> {
  const sent = await ctx.roomLocks.run(roomId, () => sendTogether(ctx, roomId, drafts, 'all or none'));
  if (Array.isArray(sent)) return sent;
  const finished = await finish(ctx, sent);
  const refused = finished.find((each) => each !== undefined && each.kind !== 'sent');
  return finished.map((each) => refused ?? each ?? { kind: 'unknown_room' });
}

function outboxOf(ctx: RoomsContext): Map<RoomId, Waiting[]> {
  const known = outboxes.get(ctx.rooms);
  if (known !== undefined) return known;
  const outbox = new Map<RoomId, Waiting[]>();
  outboxes.set(ctx.rooms, outbox);
  return outbox;
}

/** Sends what waits for a room, as long as something does. Never rejects: each who waits is told. */
async function drain(ctx: RoomsContext, roomId: RoomId): Promise<void> {
  const outbox = outboxOf(ctx);
  for (;;) {
    let batch: Waiting[] = [];
    try {
      const sent = await ctx.roomLocks.run(roomId, () => {
        // Taken only now: all that came while the room was busy goes together.
        const waiting = outbox.get(roomId) ?? [];
        batch = waiting.splice(0, MOST_TOGETHER);
        const drafts = batch.map(({ draft }) => draft);
        return sendTogether(ctx, roomId, drafts, 'each for itself');
      });
      const finished = Array.isArray(sent) ? sent : await finish(ctx, sent);
      const again = batch.filter(({ resolve }, index) => {
        const each = finished[index];
        if (each !== undefined) resolve(each);
        return each === undefined;
      });
      // Built upon what was refused: once more, before all that have come since.
      outbox.get(roomId)?.unshift(...again);
    } catch (error) {
      if (batch.length === 0) batch = outbox.get(roomId)?.splice(0) ?? [];
      for (const { reject } of batch) reject(error);
    }
    if ((outbox.get(roomId)?.length ?? 0) > 0) continue;
    outbox.delete(roomId);
    return;
  }
}

/** Under the room's lock. */
async function sendTogether(
  ctx: RoomsContext,
  roomId: RoomId,
  drafts: readonly Draft[],
  how: 'all or none' | 'each for itself',
): Promise<Sent[] | Unfinished> {
  const room = await getRoom(ctx, roomId);
  if (room === undefined) return drafts.map(() => ({ kind: 'unknown_room' }));
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const sent = await attemptSend(ctx, room, drafts, how);
    if (sent !== undefined) return sent;
  }
  throw new Error(`the room was written by others ${ATTEMPTS} times while events for it were built`);
}

/** Undefined where another writer was faster. */
async function attemptSend(
  ctx: RoomsContext,
  room: Room,
  drafts: readonly Draft[],
  how: 'all or none' | 'each for itself',
): Promise<Sent[] | Unfinished | undefined> {
  const head = await headOf(ctx, room.roomNid);
  if (head.forwardExtremities.length === 0) return drafts.map(() => ({ kind: 'unknown_room' }));
  const line = await lineFrom(ctx, room, head);
  const seen = await seenTransactions(ctx, drafts);
  const outcomes: Outcome[] = [];
  // In order: each is built upon those before it.
  for (const draft of drafts) {
    const outcome = await draftOnce(ctx, line, draft, seen);
    if ('kind' in outcome && how === 'all or none') return drafts.map(() => outcome);
    outcomes.push(outcome);
  }
  if (line.drafted.length === 0) return sentOf(ctx, outcomes, []);
  if (!(await needsNoSignatures(ctx, line))) return { room, line, outcomes };
  const persisted = await persist(ctx, room, await planFor(ctx, room, line));
  if (persisted.kind === 'conflict') return undefined;
  if (line.changed.size > 0) await reviseSticky(ctx, room);
  return sentOf(ctx, outcomes, persisted.events);
}

/** Refused, or which event it is: one seen before, or one of the line. */
type Outcome = Exclude<Sent, { kind: 'sent' }> | { readonly eventId: EventId };

/** What the policy server of the room is still to be asked for, once the room is free again. */
interface Unfinished {
  readonly room: Room;
  readonly line: Line;
  readonly outcomes: readonly Outcome[];
}

/** Not under the room's lock. Undefined for what is to be drafted anew. */
async function finish(
  ctx: RoomsContext,
  { room, line, outcomes }: Unfinished,
): Promise<(Sent | undefined)[]> {
  const placed = await placeSigned(ctx, room, line);
  const ours = new Set(line.drafted.map(({ event }) => event.eventId));
  const finished: (Sent | undefined)[] = [];
  for (const outcome of outcomes) {
    if (!('kind' in outcome) && ours.has(outcome.eventId)) finished.push(placed.get(outcome.eventId));
    else finished.push(...(await sentOf(ctx, [outcome], [])));
  }
  return finished;
}

async function draftOnce(
  ctx: RoomsContext,
  line: Line,
  draft: Draft,
  seen: Map<string, EventId>,
): Promise<Outcome> {
  const key = transactionOf(draft);
  const text = key === undefined ? undefined : clientTransactions.textOf(key);
  const before = text === undefined ? undefined : seen.get(text);
  if (before !== undefined) return { eventId: before };
  if (await isFromOutside(ctx, line, draft)) return { kind: 'unknown_room' };
  const drafted: Drafted = await tryDraft(ctx, line, draft, key);
  if (drafted.kind !== 'ok') return drafted;
  if (text !== undefined) seen.set(text, drafted.eventId);
  return { eventId: drafted.eventId };
}

/**
 * True for what one of ours who is not in the room does there, such as joining, once the last of our users has left it, be
 * it in the line: from then on the room goes on without us, and such an event goes to it by a handshake.
 */
async function isFromOutside(ctx: RoomsContext, line: Line, draft: Draft): Promise<boolean> {
  const { type, stateKey, sender } = draft;
  if (type !== 'm.room.member' || stateKey !== sender) return false;
  const member = (await stateFor(ctx, line, draft)).get('m.room.member', sender);
  if (member !== undefined && membershipOf(member) === 'join') return false;
  const ours = [...line.changed.values()].filter(({ type, stateKey = '' }) => {
    return type === 'm.room.member' && belongsTo(stateKey, ctx.serverName);
  });
  const { room } = line;
  if (ours.length === 0) return !(await isInRoom(ctx, room));
  if (ours.some((event) => membershipOf(event) === 'join')) return false;
  const joined = await memberships.joinedLocalUsers(ctx.db, room.roomNid, ctx.serverName);
  const gone = new Set(ours.map((event) => event.stateKey));
  return joined.every((userId) => gone.has(userId));
}

/** What the line writes, to be sent to the other servers of the room where there are any. */
export async function planFor(ctx: RoomsContext, room: Room, line: Line): Promise<PersistPlan> {
  const servers = await joinedServers(ctx, room.roomNid);
  const concernsOthers =
    servers.some((server) => server !== ctx.serverName) ||
    line.drafted.some(({ event }) => isOfRemoteMember(event, ctx.serverName));
  return planOf(ctx, line, concernsOthers);
}

async function seenTransactions(ctx: RoomsContext, drafts: readonly Draft[]): Promise<Map<string, EventId>> {
  const keys = drafts.map(transactionOf).filter((key) => key !== undefined);
  return new Map(await clientTransactions.seen(ctx.db, keys));
}

/** "The scope of a transaction ID is for a single device, and a single HTTP endpoint": that of the draft. */
export function transactionOf(draft: Draft): TransactionKey | undefined {
  if (draft.txn === undefined) return undefined;
  const scope = [draft.roomId, draft.type, ...(draft.redacts === undefined ? [] : [draft.redacts])].join('/');
  return { ...draft.txn, userId: draft.sender, scope };
}

async function sentOf(
  ctx: RoomsContext,
  outcomes: readonly Outcome[],
  events: readonly StoredEvent[],
): Promise<Sent[]> {
  const positions = new Map(events.map((stored) => [stored.event.eventId, stored.position]));
  const sent: Sent[] = [];
  for (const outcome of outcomes) {
    if ('kind' in outcome) {
      sent.push(outcome);
      continue;
    }
    const { eventId } = outcome;
    // Read only for a transaction that was seen before: the others are in the batch.
    const position = positions.get(eventId) ?? (await loadEvent(ctx, eventId))?.position;
    sent.push({ kind: 'sent', eventId, position: position ?? 0 });
  }
  return sent;
}
