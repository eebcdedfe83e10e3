/**
 * The state of one room in one answer. Clients take the events of `state`, then those of the timeline, and have
 * the room's state at the end of the timeline: so a key whose event is in the timeline is told as it was before.
 * With `use_state_after` they take only what is told here: the state at the end.
 */

import { isUserId, type UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { stateMapKey } from '#rooms/event.ts';
import { loadNids } from '#rooms/load.ts';
import { stateAt } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as currentState from '#storage/current-state.ts';
import type { SyncContext, SyncRequest } from './context.ts';
import { shapedTexts } from './event-shape.ts';
import { includesRoom, passes } from './filter.ts';
import { stateTexts } from './format.ts';
import type { TimelinePart } from './timeline-part.ts';

export interface StateRange {
  readonly roomNid: number;
  readonly roomId: string;
  /** Undefined for the whole state. */
  readonly since: number | undefined;
  /** Where the timeline ends. */
  readonly upto: number;
  /**
   * The event by which the user left, of a room that the user is not in: from there on its state is none of the user's
   * business, and may not be known change by change, where the server was not in the room for a time.
   */
  readonly left?: StoredEvent | undefined;
  /** Users whose member events are needed beside those of the timeline's senders. */
  readonly members: readonly UserId[];
}

export interface StatePart {
  readonly json: readonly string[];
  /** True where members, or what a room is named by, have changed in the range. */
  readonly changesSummary: boolean;
}

const NOTHING: StatePart = { json: [], changesSummary: false };
/** Of what a room's summary tells. */
export const SUMMARY_TYPES: ReadonlySet<string> = new Set([
  ...['m.room.member', 'm.room.name', 'm.room.canonical_alias'],
  ...['io.element.functional_members', 'm.member_hints'],
]);
const MEMBER = 'm.room.member';

/** What a client lacks of the state, whole or since a position. */
export async function statePart(
  sync: SyncContext,
  request: SyncRequest,
  range: StateRange,
  timeline: TimelinePart,
): Promise<StatePart> {
  const { state: filter } = request.filter;
  const isWanted = includesRoom(filter.rooms, range.roomId);
  const members = isWanted && filter.lazyLoadMembers ? missingMembers(sync, request, range, timeline) : [];
  const hasChanged =
    range.since === undefined || sync.server.streams.mayConcern(`state:${range.roomId}`, range.since);
  if (!hasChanged && members.length === 0) return NOTHING;
  // Where none of it is wanted, only what has changed is of interest: by that the summary is told.
  if (!isWanted && range.since === undefined) return NOTHING;

  const { events, changesSummary } = await stateEvents(sync, request, range, {
    ...{ timeline, members, hasChanged },
  });
  const told = isWanted ? events.filter(({ event }) => passes(filter, event)) : [];
  if (range.since === undefined) sync.sentMembers.forget(request.requester, range.roomNid);
  if (filter.lazyLoadMembers) noteMembers(sync, request, range, [...told, ...timeline.events]);
  const texts = stateTexts(told, { now: sync.server.clock.now() });
  return { json: shapedTexts(request.filter.shape, told, texts), changesSummary };
}

async function stateEvents(
  sync: SyncContext,
  request: SyncRequest,
  range: StateRange,
  which: {
    readonly timeline: TimelinePart;
    readonly members: readonly UserId[];
    readonly hasChanged: boolean;
  },
): Promise<{ readonly events: readonly StoredEvent[]; readonly changesSummary: boolean }> {
  // Where nothing has changed all are told the same of the members whom they lack.
  const unchanged =
    which.hasChanged || range.left !== undefined
      ? undefined
      : await sync.memberEvents.find(range, which.members);
  if (unchanged !== undefined) return { events: unchanged, changesSummary: false };
  const state = await stateOf(sync, request, range, which);
  const loaded = await loadNids(sync.server, state.nids.values());
  const events = state.nids
    .values()
    .map((nid) => loaded.get(nid))
    .filter((event) => event !== undefined);
  return { events: [...events], changesSummary: state.changesSummary };
}

/** The users whose member events the client may lack: those who sent what is in the timeline, and the others asked for. */
function missingMembers(
  sync: SyncContext,
  { requester, filter }: SyncRequest,
  { roomNid, since, members }: StateRange,
  timeline: TimelinePart,
): UserId[] {
  const users = new Set<UserId>(members);
  for (const { event } of timeline.events) users.add(event.sender);
  if (since === undefined || filter.state.includeRedundantMembers) return [...users];
  return sync.sentMembers.missing(requester, roomNid, { users, since }).filter(isUserId);
}

function noteMembers(
  sync: SyncContext,
  { requester }: SyncRequest,
  { roomNid, upto }: StateRange,
  events: readonly StoredEvent[],
): void {
  const users: string[] = [];
  for (const { event } of events) {
    if (event.type === MEMBER && event.stateKey !== undefined) users.push(event.stateKey);
  }
  sync.sentMembers.note(requester, roomNid, { users, position: upto });
}

interface State {
  /** By `stateMapKey`. */
  readonly nids: ReadonlyMap<string, number>;
  readonly changesSummary: boolean;
}

/** The keys to tell, with the numeric ids of their events. */
async function stateOf(
  { server }: SyncContext,
  request: SyncRequest,
  range: StateRange,
  { timeline, members }: { readonly timeline: TimelinePart; readonly members: readonly UserId[] },
): Promise<State> {
  const { roomNid, since, upto, left } = range;
  const isLazy = request.filter.state.lazyLoadMembers;
  // The state of now first, then what changed: whatever happens between the two is undone.
  const base = await baseOf(server, { roomNid, since, left }, isLazy ? members : undefined);
  const after = since ?? Math.min(timeline.start, upto);
  const last = left === undefined ? Number.MAX_SAFE_INTEGER : upto;
  const deltas = await currentState.deltas(server.db, roomNid, { after, upto: last });
  const inTimeline = new Set(request.stateMember === 'state' ? timeline.events.map(({ nid }) => nid) : []);
  const wholeMembers = new Set(members.map((userId) => stateMapKey(MEMBER, userId)));
  const tells = (delta: currentState.StateDelta, key: string) =>
    since !== undefined || !isLazy || delta.type !== MEMBER || wholeMembers.has(key);
  const isWhole = since === undefined;
  return {
    nids: rewound(base, deltas, { upto, inTimeline, isWhole, tells }),
    changesSummary: deltas.some((delta) => delta.position <= upto && SUMMARY_TYPES.has(delta.type)),
  };
}

/** What to go back from: by `stateMapKey`; with lazy loading of the members only some. */
async function baseOf(
  server: RoomsContext,
  { roomNid, since, left }: Pick<StateRange, 'roomNid' | 'since' | 'left'>,
  lazyMembers: readonly UserId[] | undefined,
): Promise<Map<string, number>> {
  const rows: { readonly type: string; readonly stateKey: string; readonly eventNid: number }[] = [];
  if (left !== undefined) {
    const state = since === undefined ? await stateAt(server, left, 'after') : [];
    const isWanted = ({ event }: StoredEvent) =>
      lazyMembers === undefined ||
      event.type !== MEMBER ||
      lazyMembers.some((member) => member === event.stateKey);
    for (const { event, nid } of state.filter(isWanted)) {
      rows.push({ type: event.type, stateKey: event.stateKey ?? '', eventNid: nid });
    }
  } else if (since === undefined) {
    const all =
      lazyMembers === undefined
        ? await currentState.all(server.db, roomNid)
        : await currentState.allBesides(server.db, roomNid, MEMBER);
    for (const row of all) rows.push(row);
  }
  if (left === undefined && lazyMembers !== undefined && lazyMembers.length > 0) {
    const keys = lazyMembers.map((userId) => ({ type: MEMBER, stateKey: userId }));
    rows.push(...(await currentState.some(server.db, roomNid, keys)));
  }
  return new Map(rows.map((row) => [stateMapKey(row.type, row.stateKey), row.eventNid]));
}

/**
 * Goes back from the state of now. What came after `upto` is undone; of what came before, the newest event of a key
 * stands, unless the timeline has it: then what was before that one. What `base` says of now goes before the changes:
 * they have holes where this server was out of the room.
 */
export function rewound(
  base: ReadonlyMap<string, number>,
  deltas: readonly currentState.StateDelta[],
  range: {
    readonly upto: number;
    readonly inTimeline: ReadonlySet<number>;
    /** Otherwise what a key was before the range is told only of those in `base`. */
    readonly isWhole: boolean;
    readonly tells: (delta: currentState.StateDelta, key: string) => boolean;
  },
): Map<string, number> {
  const state = new Map(base);
  const settled = new Set<string>();
  for (const delta of deltas.toReversed()) {
    const key = stateMapKey(delta.type, delta.stateKey);
    if (settled.has(key) || !range.tells(delta, key)) continue;
    const isUndone =
      delta.position > range.upto || (delta.eventNid !== undefined && range.inTimeline.has(delta.eventNid));
    if (!isUndone) settled.add(key);
    if (!isUndone && range.isWhole) continue;
    const before = range.isWhole || base.has(key) ? delta.prevEventNid : undefined;
    const nid = isUndone ? before : delta.eventNid;
    if (nid === undefined) state.delete(key);
    else state.set(key, nid);
  }
  return state;
}
