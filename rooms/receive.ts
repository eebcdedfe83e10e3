/**
 * Events of other servers on their way into a room: the checks on receipt of a PDU from the fourth on. Those
 * before it are in `ingress.ts`. https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 *
 * 4. "Passes authorisation rules based on the event's auth events, otherwise it is rejected."
 * 5. "Passes authorisation rules based on the state before the event, otherwise it is rejected."
 * 6. "Passes authorisation rules based on the current state of the room, otherwise it is soft failed."
 * 7. "Is validated by the Policy Server, if the room is using a Policy Server, otherwise it is soft failed."
 *
 * What is missing for a check is answered, and fetched by the caller.
 */

import type { EventId } from '#keys/ids.ts';
import type { TransactionKey } from '#storage/client-transactions.ts';
import type { AuthState } from './auth/check.ts';
import type { RoomsContext } from './context.ts';
import { type Event, stateMapKey } from './event.ts';
import { type Arrival, extremitiesAfter, lateExtremities } from './extremities.ts';
import { loadEvent, loadEvents } from './load.ts';
import { mergeExtremities } from './merge-extremities.ts';
import { type PersistPlan, type Placement, persist } from './persist.ts';
import { pastlessBecause, placelessBecause } from './placeless.ts';
import { isUnsigned, signedBy } from './policy.ts';
import { awaitedAmong, type Standing, storeUnplaced, waitingFor } from './provisional.ts';
import { effectOf, pendingRedactionOf } from './redaction.ts';
import { groupRef, refTo, resolveStates, type StateRef, stateOfRef } from './resolve-state.ts';
import { isOfRemoteMember, joinedServers, type Room } from './room.ts';
import type { RoomHead } from './room-cache.ts';
import { haveSameStates, headOf } from './room-head.ts';
import { currentStateEvent } from './state.ts';
import { reviseSticky } from './sticky.ts';
import { isPlaced, type StoredEvent } from './stored-event.ts';
import { judge, neededBy } from './told/judge-told.ts';
import { stateToCheck, unlessCrowded, type Verdict, verdictOn } from './verdict.ts';
import { markVerified, type VerifiedEvent } from './verified-event.ts';
import { watchState } from './watch-state.ts';

export type Received =
  | {
      readonly kind: 'accepted' | 'soft_failed' | 'rejected' | 'known';
      readonly reason?: string;
      /** Rejected as far as is known: it is judged anew when it, or what it waits for, arrives (`provisional.ts`). */
      readonly provisional?: true;
    }
  /** Fetch these, have them received, oldest first, and then this event again. */
  | { readonly kind: 'missing'; readonly auth: readonly EventId[]; readonly prev: readonly EventId[] };

export interface ReceiveOptions {
  /**
   * `live`: it happens now. `history`: it was fetched because somebody reads back, and what is here leads back to it.
   * `outlier`: it is only part of some state or auth chain, and gets no place in the graph.
   */
  readonly as: 'live' | 'history' | 'outlier';
  /**
   * Ids of stored events: the state before the event as a remote server tells it, used where not all its
   * `prev_events` are known. What of it is not stored, rejected, or of another room does not count; of two events
   * with the same key the later one does.
   */
  readonly stateBefore?: readonly EventId[];
  /** For history: one of `reserveHistory`, so that several events received oldest first lie in order. */
  readonly historyPosition?: number;
  /** It came by `send_join` or the like: we send it to the room's other servers. */
  readonly relay?: boolean;
  /** One of our own, which a client sent by this transaction. */
  readonly transaction?: TransactionKey | undefined;
  /** The join by which we were let in: the servers there have taken it. */
  readonly isAdmitted?: boolean;
  /** We come into the room by it, which we had left (`PersistPlan`). */
  readonly arrives?: PersistPlan['arrives'];
}

const ATTEMPTS = 5;
/** How many events one arrival lets be judged anew; the others wait for their own. */
const MOST_AGAIN = 100;
/** Why an event is refused that has the id of one of another room. */
export const ID_TAKEN = 'An event of another room has this id';

/** Receives one event, under the room's lock. Never throws for what the event says. */
export function receive(
  ctx: RoomsContext,
  room: Room,
  event: VerifiedEvent,
  how: ReceiveOptions,
): Promise<Received> {
  return ctx.roomLocks.run(room.roomId, () => receiveLocked(ctx, room, event, how));
}

/** As `receive`, for who holds the room's lock. */
export async function receiveLocked(
  ctx: RoomsContext,
  room: Room,
  event: VerifiedEvent,
  how: ReceiveOptions,
): Promise<Received> {
  const received = await receiveOne(ctx, room, event, how);
  if (isSettled(received)) await judgeWaiting(ctx, room, event.eventId, how.as);
  if (received.kind === 'accepted' && how.as === 'live') {
    if (event.stateKey !== undefined) await reviseSticky(ctx, room);
    await mergeExtremities(ctx, room);
  }
  return received;
}

async function receiveOne(
  ctx: RoomsContext,
  room: Room,
  event: VerifiedEvent,
  how: ReceiveOptions,
): Promise<Received> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const received = await attemptReceive(ctx, room, event, how);
    if (received !== undefined) return received;
  }
  throw new Error(`the room was written by others ${ATTEMPTS} times while an event was received`);
}

/** True where the event is here, and the verdict on it final: also where it came before, and a crash cut short the rest. */
function isSettled(received: Received): boolean {
  return received.kind !== 'missing' && received.provisional !== true;
}

/** Judges anew what was rejected for lack of an event that is here now, and then what waited for that. */
async function judgeWaiting(
  ctx: RoomsContext,
  room: Room,
  arrived: EventId,
  as: ReceiveOptions['as'],
): Promise<void> {
  const settled = new Set([arrived]);
  let left = MOST_AGAIN;
  // A set hands out what is added to it while it is walked.
  for (const eventId of settled) {
    if (left <= 0) return;
    for (const event of await waitingFor(ctx, room, eventId, left)) {
      left -= 1;
      // One after the other: each may be what the next waits for.
      let received: Received = { kind: 'missing', auth: [], prev: [] };
      if (event.authEvents.includes(eventId))
        received = await receiveOne(ctx, room, event, { as: 'outlier' });
      const placed = await receiveOne(ctx, room, event, { as: as === 'history' ? 'history' : 'live' });
      if (isSettled(received) || isSettled(placed)) settled.add(event.eventId);
    }
  }
}

/** Positions for `count` events of history, the first for the oldest. They lie below all that were there. */
export async function reserveHistory(ctx: RoomsContext, count: number): Promise<number[]> {
  const positions = await ctx.db.write('rooms.reserveHistory', async (tx) =>
    Array.from({ length: count }, () => ctx.streams.allocateHistory(tx)),
  );
  return positions.reverse();
}

/** Undefined where another writer was faster. */
async function attemptReceive(
  ctx: RoomsContext,
  room: Room,
  event: VerifiedEvent,
  how: ReceiveOptions,
): Promise<Received | undefined> {
  if (event.roomId !== room.roomId) return { kind: 'rejected', reason: 'The event is of another room' };
  const stored = await loadEvent(ctx, event.eventId);
  // v1, v2: servers choose the ids of their events. The first one counts, in whatever room it is.
  if (stored !== undefined && stored.roomNid !== room.roomNid) return received('rejected', ID_TAKEN);
  if (stored !== undefined && how.as === 'live' && isPlaced(stored) && isUnsigned(stored)) {
    return judgeSigned(ctx, room, event, stored);
  }
  if (stored !== undefined && !isOpen(stored, how)) return known(stored);

  const authEvents = await loadAuthEvents(ctx, event);
  if (authEvents.missing.length > 0) return { kind: 'missing', auth: authEvents.missing, prev: [] };
  const standing = await standingOf(ctx, room, event, authEvents);
  const refused = standing.reason;
  const unplaced = { ...standing, stored };
  if (how.as === 'outlier') return storedUnplaced(ctx, room, event, unplaced);

  const prevEvents = await loadEvents(ctx, event.prevEvents);
  const placeless = placelessBecause(room, event, prevEvents, refused);
  if (placeless !== undefined) {
    if (stored !== undefined) return known(stored);
    return storedUnplaced(ctx, room, event, { ...unplaced, reason: placeless, waitsFor: [] });
  }
  if (standing.waitsFor.length > 0) return storedUnplaced(ctx, room, event, unplaced);
  const missing = event.prevEvents.filter((eventId) => !isPlaced(prevEvents.get(eventId)));
  if (missing.length > 0 && how.stateBefore === undefined) {
    // Without a state there is no place for it, and what is rejected anyhow is not worth fetching one.
    if (refused === undefined) return { kind: 'missing', auth: [], prev: missing };
    return stored === undefined ? storedUnplaced(ctx, room, event, unplaced) : known(stored);
  }

  const head = await headOf(ctx, room.roomNid);
  const stateBefore = await stateBeforeOf(ctx, room, { head, prevEvents, told: how.stateBefore, missing });
  const before = await stateToCheck(event, (keys) => stateOfRef(ctx, stateBefore, keys));
  const gap = missing.length > 0 ? stateBefore : undefined;
  const judged = await verdictOn(ctx, event, { refused, before, how, current: { room, head, gap } });
  const verdict = await unlessCrowded(ctx, head, judged, { event, prevEvents, how });
  if (verdict.status === 'rejected' && refused === undefined && missing.length > 0) {
    // What is a part of some state that we go by is not taken away by who tells us another state before it.
    if (stored?.status === 'outlier') return received('rejected', verdict.reason);
    return storedUnplaced(ctx, room, event, { reason: verdict.reason, waitsFor: missing, stored });
  }
  const arrival: Arrival = { event, ...verdict, stateBefore, prevEvents, isLive: how.as === 'live' };
  const placement = await placementOf(ctx, room, event, { verdict, before, how, stateBefore, stored });
  const extremities = await extremitiesAfter(ctx, room, head, arrival);
  const arrives = verdict.status === 'accepted' && how.arrives !== undefined && { arrives: how.arrives };
  const persisted = await persist(ctx, room, { head, placements: [placement], ...extremities, ...arrives });
  if (persisted.kind === 'conflict') return undefined;
  if (!followsHead(head, stateBefore)) {
    await watchState(ctx, room, { from: head.stateGroup, to: (await headOf(ctx, room.roomNid)).stateGroup });
  }
  return received(verdict.status, verdict.reason);
}

/**
 * What was soft-failed because the policy server had not signed it is judged anew when a copy comes that it has signed. The
 * event keeps its place; clients see it as what happens now.
 */
async function judgeSigned(
  ctx: RoomsContext,
  room: Room,
  copy: VerifiedEvent,
  stored: StoredEvent,
): Promise<Received | undefined> {
  const kept = stored.event;
  markVerified(kept);
  // By it alone: of v1 and v2 another event may have the same id.
  const event = await signedBy(ctx, room, kept, copy);
  if (event === undefined) return known(stored);
  const how = { as: 'live' } as const;
  const head = await headOf(ctx, room.roomNid);
  const stateBefore = groupRef(stored.stateBefore ?? 0);
  const before = await stateToCheck(event, (keys) => stateOfRef(ctx, stateBefore, keys));
  const current = { room, head, gap: undefined };
  const verdict = await verdictOn(ctx, event, { refused: undefined, before, how, current });
  if (verdict.status !== 'accepted') return known(stored);
  const prevEvents = await loadEvents(ctx, event.prevEvents);
  const arrival: Arrival = { event, ...verdict, stateBefore, prevEvents, isLive: true };
  const placement = await placementOf(ctx, room, event, { verdict, before, how, stateBefore, stored });
  const extremities = await lateExtremities(ctx, room, head, arrival);
  const persisted = await persist(ctx, room, { head, placements: [placement], ...extremities });
  return persisted.kind === 'conflict' ? undefined : received('accepted', undefined);
}

/** True where an event only adds to the current state. */
function followsHead(head: RoomHead, { base, changes }: StateRef): boolean {
  return head.forwardExtremities.length === 1 && base === head.stateGroup && changes.size === 0;
}

/** False where the last word on a stored event has been said, as far as `how` may say one. */
function isOpen(stored: StoredEvent, how: ReceiveOptions): boolean {
  return !isPlaced(stored) && (how.as !== 'outlier' || stored.status === 'rejected');
}

/** Check 4. */
async function standingOf(
  ctx: RoomsContext,
  room: Room,
  event: Event,
  authEvents: AuthEvents,
): Promise<Standing> {
  const refusal = judge(event, authEvents.byId);
  if (refusal === undefined) {
    const reason = pastlessBecause(event) ?? (await checkOnlyCreate(ctx, room, event));
    return { reason, waitsFor: [] };
  }
  const waitsFor = refusal.rule === 'v10 2.3' ? await awaitedAmong(ctx, authEvents.stored) : [];
  return { reason: refusal.reason, waitsFor };
}

async function storedUnplaced(
  ctx: RoomsContext,
  room: Room,
  event: VerifiedEvent,
  unplaced: Standing & { readonly stored: StoredEvent | undefined },
): Promise<Received> {
  await storeUnplaced(ctx, room, event, unplaced);
  const { reason, waitsFor } = unplaced;
  const verdict = received(reason === undefined ? 'accepted' : 'rejected', reason);
  return waitsFor.length === 0 ? verdict : { ...verdict, provisional: true };
}

/** The events in `auth_events`, and the create event, which they do not name in every version. */
interface AuthEvents {
  readonly byId: ReadonlyMap<EventId, Event | 'rejected'>;
  readonly stored: readonly StoredEvent[];
  readonly missing: readonly EventId[];
}

async function loadAuthEvents(ctx: RoomsContext, event: Event): Promise<AuthEvents> {
  const needed = neededBy(event);
  const stored = await loadEvents(ctx, needed);
  const missing = [...needed].filter((eventId) => !stored.has(eventId));
  const byId = new Map<EventId, Event | 'rejected'>();
  for (const [eventId, { status, event }] of stored)
    byId.set(eventId, status === 'rejected' ? 'rejected' : event);
  return { byId, stored: [...stored.values()], missing };
}

/** A room begins once: a second create event would have the state of the room begin anew. */
async function checkOnlyCreate(ctx: RoomsContext, room: Room, event: Event): Promise<string | undefined> {
  if (event.type !== 'm.room.create') return undefined;
  const create = await currentStateEvent(ctx, room.roomNid, 'm.room.create', '');
  if (create === undefined || create.event.eventId === event.eventId) return undefined;
  return 'The room has another create event';
}

/** The state before the event: after its prev events, resolved where they differ; or as a remote server tells it. */
async function stateBeforeOf(
  ctx: RoomsContext,
  room: Room,
  from: {
    readonly head: RoomHead;
    readonly prevEvents: ReadonlyMap<EventId, StoredEvent>;
    readonly told: readonly EventId[] | undefined;
    readonly missing: readonly EventId[];
  },
): Promise<StateRef> {
  const groups = [...from.prevEvents.values()].map((stored) => stored.stateAfter);
  const known = groups.filter((group) => group !== undefined);
  if (from.missing.length === 0 && haveSameStates(from.head, known)) return groupRef(from.head.stateGroup);
  const states = known.map(groupRef);
  if (from.missing.length > 0 && from.told !== undefined) {
    states.push(await toldState(ctx, room, from.head, from.told));
  }
  // Only a create event has no prev events: the state before it is empty.
  if (states.length === 0) return groupRef(0);
  return resolveStates(ctx, room, states, { upon: from.head.stateGroup });
}

async function toldState(
  ctx: RoomsContext,
  room: Room,
  head: RoomHead,
  told: readonly EventId[],
): Promise<StateRef> {
  const state = new Map<string, EventId>();
  const stored = await loadEvents(ctx, told);
  for (const eventId of told) {
    const { event, roomNid, status } = stored.get(eventId) ?? {};
    if (roomNid !== room.roomNid || status === 'rejected' || event?.stateKey === undefined) continue;
    state.set(stateMapKey(event.type, event.stateKey), event.eventId);
  }
  return refTo(ctx, head.stateGroup, state);
}

async function placementOf(
  ctx: RoomsContext,
  room: Room,
  event: VerifiedEvent,
  of: {
    readonly verdict: Verdict;
    readonly before: AuthState;
    readonly how: ReceiveOptions;
    readonly stateBefore: StateRef;
    readonly stored: StoredEvent | undefined;
  },
): Promise<Placement> {
  const { verdict, before, how, stateBefore } = of;
  const accepted = verdict.status === 'accepted';
  const create = before.get('m.room.create', '');
  const powerLevels = before.get('m.room.power_levels', '');
  const others = how.relay === true && accepted ? await joinedServers(ctx, room.roomNid) : [];
  return {
    event,
    ...verdict,
    stateBefore,
    order: how.as === 'live' ? 'live' : { historyPosition: how.historyPosition },
    outlier: of.stored,
    redactedBy: await pendingRedactionOf(ctx, event),
    redacts: accepted ? await effectOf(ctx, { event, create, powerLevels }) : undefined,
    transaction: how.transaction,
    outgoing:
      others.some((server) => server !== ctx.serverName) ||
      (how.relay === true && accepted && isOfRemoteMember(event, ctx.serverName)),
  };
}

function known(stored: StoredEvent): Received {
  return received('known', stored.reason);
}

function received(
  kind: 'accepted' | 'soft_failed' | 'rejected' | 'known',
  reason: string | undefined,
): Exclude<Received, { kind: 'missing' }> {
  return reason === undefined ? { kind } : { kind, reason };
}
