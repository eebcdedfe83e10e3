/** Drafts become events, one upon the other, in memory; nothing is written here. */

import { encodeCanonical } from '#keys/canonical-json.ts';
import { belongsTo, type EventId } from '#keys/ids.ts';
import type { TransactionKey } from '#storage/client-transactions.ts';
import { type AuthState, checkStateDependent, checkStateIndependent, type Refusal } from './auth/check.ts';
import { isUnfit } from './auth/refusal.ts';
import { authEventKeys, type StateKey } from './auth/select.ts';
import { buildEvent, type EventParts } from './build-event.ts';
import type { RoomsContext } from './context.ts';
import { MAX_EVENT_DEPTH } from './depth.ts';
import { type Event, stateMapKey } from './event.ts';
import { MAX_PREV_EVENTS } from './format.ts';
import { loadEvent, loadEvents } from './load.ts';
import type { PersistPlan, Placement } from './persist.ts';
import { checkOwnRedaction, effectOf, type Redacter, type RedactionEffect } from './redaction.ts';
import { type ReferenceHashes, referenceHashesOf } from './references.ts';
import { type RefusedRelation, refusedRelation } from './relations/own-relation.ts';
import {
  groupRef,
  resolveGroups,
  resolveStates,
  type StateRef,
  stateOfRef,
  withEvents,
} from './resolve-state.ts';
import type { Room } from './room.ts';
import type { ForwardExtremity, RoomHead } from './room-cache.ts';
import { headState } from './room-head.ts';
import type { Draft } from './send.ts';
import type { VerifiedEvent } from './verified-event.ts';
import type { RoomVersionRules } from './versions.ts';

/** New events upon a room's head, each upon the one before. */
export interface Line {
  readonly room: Room;
  readonly head: RoomHead;
  /** What the first event cites. */
  readonly cited: readonly ForwardExtremity[];
  /** The state before the first event. */
  readonly stateBefore: StateRef;
  readonly drafted: DraftedEvent[];
  /** What the line's own events have changed of that state, by `stateMapKey`. */
  readonly changed: Map<string, Event>;
}

export interface DraftedEvent {
  readonly event: VerifiedEvent;
  readonly transaction: TransactionKey | undefined;
  /** The draft's. */
  readonly upon: EventId | undefined;
  readonly redacts: RedactionEffect | undefined;
}

export type Drafted =
  | { readonly kind: 'ok'; readonly eventId: EventId }
  | { readonly kind: 'forbidden'; readonly reason: string }
  | RefusedRelation
  | { readonly kind: 'invalid'; readonly reason: string };

/** Why an event is refused where another stands already in the place of the one that it was to replace. */
export const STATE_CHANGED = 'The state has changed meanwhile';

/** An empty line upon the head. */
export async function lineFrom(ctx: RoomsContext, room: Room, head: RoomHead): Promise<Line> {
  const all = head.forwardExtremities;
  if (all.length <= MAX_PREV_EVENTS) {
    // The current state is the resolution of the states after all of them.
    return lineOn(room, head, { cited: all, stateBefore: groupRef(head.stateGroup) });
  }
  // "prev_events [...] Must contain less than or equal to 20 events": the deepest, for they lead furthest.
  const cited = [...all].sort((a, b) => b.depth - a.depth).slice(0, MAX_PREV_EVENTS);
  const groups = cited.map(({ stateAfter }) => stateAfter);
  return lineOn(room, head, { cited, stateBefore: await resolveGroups(ctx, room, groups) });
}

function lineOn(room: Room, head: RoomHead, at: Pick<Line, 'cited' | 'stateBefore'>): Line {
  return { room, head, ...at, drafted: [], changed: new Map() };
}

/** Builds, signs and checks one more event, and adds it to the line if it is allowed. */
export async function tryDraft(
  ctx: RoomsContext,
  line: Line,
  draft: Draft,
  transaction?: TransactionKey,
): Promise<Drafted> {
  if (!belongsTo(draft.sender, ctx.serverName)) throw new Error('only our own users send events from here');
  const state = await stateFor(ctx, line, draft);
  const { type, stateKey = '', upon } = draft;
  if (upon !== undefined && state.get(type, stateKey)?.eventId !== upon)
    return { kind: 'forbidden', reason: STATE_CHANGED };
  const built = buildEvent(ctx, await partsUpon(ctx, line, draft, state));
  if (built.kind === 'invalid') return built;
  const { event } = built;
  const refusal = checkIndependent(event, state) ?? checkStateDependent(event, state);
  if (refusal !== undefined)
    return { kind: isUnfit(refusal) ? 'invalid' : 'forbidden', reason: refusal.reason };
  const redacter = {
    event,
    create: state.get('m.room.create', ''),
    powerLevels: state.get('m.room.power_levels', ''),
  };
  const refused = await checkRedacts(ctx, redacter);
  if (refused !== undefined) return { kind: 'forbidden', reason: refused };
  const known = sameState(event, state);
  if (known !== undefined) return { kind: 'ok', eventId: known };
  const misrelated = await refusedRelation(ctx, line.room.roomNid, event, line.drafted);
  if (misrelated !== undefined) return misrelated;
  const redacts = event.redacts === undefined ? undefined : await effectOf(ctx, redacter);
  line.drafted.push({ event, transaction, upon, redacts });
  if (event.stateKey !== undefined) line.changed.set(stateMapKey(event.type, event.stateKey), event);
  return { kind: 'ok', eventId: event.eventId };
}

/**
 * The state event that is there already, where its sender says the same again. Asked only of what is allowed: who may
 * not set the state learns nothing of it.
 */
function sameState({ type, stateKey, sender, content }: Event, state: AuthState): EventId | undefined {
  const before = stateKey === undefined ? undefined : state.get(type, stateKey);
  if (before === undefined || before.sender !== sender) return undefined;
  return encodeCanonical(before.content) === encodeCanonical(content) ? before.eventId : undefined;
}

/** What the line writes. `concernsOthers`: other servers are to be sent it. */
export async function planOf(ctx: RoomsContext, line: Line, concernsOthers: boolean): Promise<PersistPlan> {
  const placements = line.drafted.map(
    ({ event, transaction, redacts }, index): Placement => ({
      event,
      status: 'accepted',
      stateBefore: index === 0 ? line.stateBefore : 'previous',
      order: 'live',
      transaction,
      redacts,
      outgoing: concernsOthers,
    }),
  );
  return {
    head: line.head,
    placements,
    replaced: line.cited,
    leading: line.drafted.slice(-1).map(({ event }) => event.eventId),
    backward: { added: [], removed: [] },
    currentState: await currentStateAfter(ctx, line),
  };
}

async function currentStateAfter(ctx: RoomsContext, line: Line): Promise<StateRef | 'last'> {
  const cited = new Set(line.cited.map(({ nid }) => nid));
  const besides = line.head.forwardExtremities.filter(({ nid }) => !cited.has(nid));
  if (besides.length === 0) return 'last';
  const fresh = line.drafted.map(({ event }) => event);
  const states = [
    withEvents(line.stateBefore, line.changed.values()),
    ...besides.map(({ stateAfter }) => groupRef(stateAfter)),
  ];
  return resolveStates(ctx, line.room, states, { fresh, upon: line.head.stateGroup });
}

/** What an event would be, if it were sent now: for the templates that other servers ask for. */
export async function partsUpon(
  ctx: RoomsContext,
  line: Line,
  draft: Draft,
  state: AuthState,
): Promise<EventParts> {
  const last = line.drafted.at(-1)?.event;
  const deepest = last?.depth ?? line.cited.reduce((depth, extremity) => Math.max(depth, extremity.depth), 0);
  const { rules } = line.room;
  const isCreate = draft.type === 'm.room.create';
  const prevEvents = last === undefined ? line.cited.map(({ eventId }) => eventId) : [last.eventId];
  const authEvents = authEventKeys(draft, rules)
    .map(({ type, stateKey }) => state.get(type, stateKey))
    .filter((event) => event !== undefined);
  return {
    rules,
    roomId: isCreate && rules.roomIdIsCreateHash ? undefined : line.room.roomId,
    sender: draft.sender,
    type: draft.type,
    stateKey: draft.stateKey,
    content: draft.content,
    redacts: draft.redacts,
    stickyMs: draft.stickyMs,
    originServerTs: draft.originServerTs ?? ctx.clock.now(),
    prevEvents,
    authEvents: authEvents.map(({ eventId }) => eventId),
    referenceHashes: await hashesFor(ctx, rules, { last, prevEvents, authEvents }),
    depth: Math.min(deepest + 1, MAX_EVENT_DEPTH),
  };
}

/** v1, v2: the hashes of what the event cites. */
async function hashesFor(
  ctx: RoomsContext,
  rules: RoomVersionRules,
  cited: {
    readonly last: Event | undefined;
    readonly prevEvents: readonly EventId[];
    readonly authEvents: readonly Event[];
  },
): Promise<ReferenceHashes | undefined> {
  if (rules.eventReferences === 'ids') return undefined;
  const { last, prevEvents, authEvents } = cited;
  if (last !== undefined) return referenceHashesOf([last, ...authEvents], rules);
  const stored = await loadEvents(ctx, prevEvents);
  return referenceHashesOf([...[...stored.values()].map(({ event }) => event), ...authEvents], rules);
}

/** What the rules look at for this draft, of the state before it. */
export async function stateFor(ctx: RoomsContext, line: Line, draft: Draft): Promise<AuthState> {
  const { type, stateKey } = draft;
  const keys: StateKey[] = [
    { type: 'm.room.create', stateKey: '' },
    ...authEventKeys(draft, line.room.rules),
    // What the event takes the place of, which the rules do not look at.
    ...(stateKey === undefined ? [] : [{ type, stateKey }]),
  ];
  const unchanged = keys.filter(({ type, stateKey }) => !line.changed.has(stateMapKey(type, stateKey)));
  const isCurrent = line.stateBefore.changes.size === 0 && line.stateBefore.base === line.head.stateGroup;
  const read = isCurrent
    ? await headState(ctx, line.head, unchanged)
    : await stateOfRef(ctx, line.stateBefore, unchanged);
  return {
    get: (type, stateKey) => {
      const key = stateMapKey(type, stateKey);
      return line.changed.get(key) ?? read.get(key)?.event;
    },
  };
}

/** Messages cite what we chose ourselves; state events, and who tries a second create event, are checked whole. */
function checkIndependent(event: Event, state: AuthState): Refusal | undefined {
  if (event.stateKey === undefined && event.type !== 'm.room.create') return undefined;
  const cited = new Map<EventId, Event>();
  for (const { type, stateKey } of authEventKeys(event, event.rules)) {
    const authEvent = state.get(type, stateKey);
    if (authEvent !== undefined) cited.set(authEvent.eventId, authEvent);
  }
  return checkStateIndependent(event, cited, state.get('m.room.create', ''));
}

async function checkRedacts(ctx: RoomsContext, redacter: Redacter): Promise<string | undefined> {
  const { event, create, powerLevels } = redacter;
  if (event.redacts === undefined) return undefined;
  const target = await loadEvent(ctx, event.redacts);
  return checkOwnRedaction(target?.event, {
    create,
    powerLevels,
    sender: event.sender,
    roomId: event.roomId,
  });
}
