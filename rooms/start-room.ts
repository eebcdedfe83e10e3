import { setImmediate as nextTurn } from 'node:timers/promises';
import { type EventId, isRoomId, type RoomId } from '#keys/ids.ts';
import type { Tx } from '#storage/database.ts';
import * as rooms from '#storage/rooms.ts';
import type { RoomsContext } from './context.ts';
import { type Line, planOf, tryDraft } from './draft.ts';
import { roomIdOfCreate } from './hashes.ts';
import { type Persisted, type PersistPlan, writePlan } from './persist.ts';
import { unsignedReason } from './policy.ts';
import { groupRef } from './resolve-state.ts';
import { getRoom, type Room } from './room.ts';
import type { RoomHead } from './room-cache.ts';
import type { Draft } from './send.ts';
import { putSigned, signaturesFor } from './sign-line.ts';
import type { RoomVersionRules } from './versions.ts';

export interface RoomStart {
  readonly rules: RoomVersionRules;
  /**
   * The events that the room starts with, the create event first, each built upon the one before. Where the room
   * id is the create event's hash, their `roomId` does not count.
   */
  readonly drafts: readonly Draft[];
}

export type Started =
  | { readonly kind: 'started'; readonly roomId: RoomId; readonly eventIds: readonly EventId[] }
  /** The draft at `index` is refused; nothing was written. */
  | { readonly kind: 'refused'; readonly index: number; readonly reason: string };

/** Not a place in the database yet: events are built and checked before the room has a row. */
const NO_ROW = 0;
const ATTEMPTS = 10;
const DRAFTS_AT_ONCE = 100;

/** Starts a room with its first events, all in one transaction. */
export async function startRoom(ctx: RoomsContext, start: RoomStart): Promise<Started> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const started = await attemptStart(ctx, start, attempt);
    if (started !== undefined) return started;
  }
  return { kind: 'refused', index: 0, reason: 'The room exists already' };
}

/** Undefined where there is such a room already: with the next millisecond the id would be another. */
async function attemptStart(
  ctx: RoomsContext,
  start: RoomStart,
  laterMs: number,
): Promise<Started | undefined> {
  const drafted = await draftStart(ctx, start, laterMs);
  if (drafted === undefined || drafted.kind === 'refused') return drafted;
  const { line } = drafted;
  const plan = await planOf(ctx, line, false);
  const persisted = await ctx.db.write('rooms.start', (tx) => writeStart(ctx, tx, line, plan));
  if (persisted.kind === 'conflict') return undefined;
  const { roomId } = line.room;
  return { kind: 'started', roomId, eventIds: line.drafted.map(({ event }) => event.eventId) };
}

export type DraftedStart =
  | { readonly kind: 'drafted'; readonly line: Line }
  | Extract<Started, { kind: 'refused' }>;

/**
 * The first events of a room, built, signed and checked; nothing is written. The create event is dated `laterMs`
 * milliseconds later than it would be. Undefined where there is such a room already.
 */
export async function draftStart(
  ctx: RoomsContext,
  { rules, drafts }: RoomStart,
  laterMs: number,
): Promise<DraftedStart | undefined> {
  const [first, ...others] = drafts;
  if (first?.type !== 'm.room.create') throw new Error('a room starts with its create event');
  const originServerTs = (first.originServerTs ?? ctx.clock.now()) + laterMs;
  const line = emptyLine({ roomNid: NO_ROW, roomId: first.roomId, rules });
  const created = await tryDraft(ctx, line, { ...first, originServerTs });
  if (created.kind !== 'ok') return { kind: 'refused', index: 0, reason: created.reason };
  const roomId = rules.roomIdIsCreateHash ? roomIdOfCreate(created.eventId) : first.roomId;
  if (!isRoomId(roomId)) throw new Error('a room needs an id');
  if ((await getRoom(ctx, roomId)) !== undefined) return undefined;

  const inRoom: Line = { ...line, room: { ...line.room, roomId } };
  // In order: each is built upon those before it.
  for (const [index, draft] of others.entries()) {
    const drafted = await tryDraft(ctx, inRoom, { ...draft, roomId });
    if (drafted.kind !== 'ok') return { kind: 'refused', index: index + 1, reason: drafted.reason };
    // A long list must not hold up everybody else.
    if (index % DRAFTS_AT_ONCE === DRAFTS_AT_ONCE - 1) await nextTurn();
  }
  // Nobody else is asked: no other server is in the room yet.
  const refused = putSigned(inRoom, await signaturesFor(ctx, inRoom));
  if (refused === undefined) return { kind: 'drafted', line: inRoom };
  return { kind: 'refused', index: refused.index, reason: unsignedReason(refused.unsigned) };
}

/** Writes a drafted room. `conflict` where somebody else has made the same room meanwhile. */
export async function writeStart(
  ctx: RoomsContext,
  tx: Tx,
  line: Line,
  plan: PersistPlan,
): Promise<Persisted> {
  const { roomId, rules } = line.room;
  const room: Room = { roomNid: await rooms.insert(tx, roomId, rules.version), roomId, rules };
  return writePlan(ctx, tx, room, plan);
}

function emptyLine(room: Room): Line {
  const head: RoomHead = { rowVersion: 0, stateGroup: 0, forwardExtremities: [], state: new Map() };
  return { room, head, cited: [], stateBefore: groupRef(head.stateGroup), drafted: [], changed: new Map() };
}
