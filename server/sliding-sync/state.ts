/** `required_state` of one room in one answer: the state at the end of the timeline, or what of it has changed. */

import { isUserId } from '#keys/ids.ts';
import { stateMapKey } from '#rooms/event.ts';
import { loadNids } from '#rooms/load.ts';
import { stateAt } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as currentState from '#storage/current-state.ts';
import { stateTexts } from '../sync/format.ts';
import { rewound } from '../sync/state-part.ts';
import type { TimelinePart } from '../sync/timeline-part.ts';
import { deviceOf, type SlidingAnswer, type SlidingContext } from './context.ts';
import { type CombinedConfig, configFor, isRequired, readsFor, type UserConfig } from './required-state.ts';
import type { ListedRoom } from './room-order.ts';

export interface StateAsked {
  readonly config: CombinedConfig;
  /** By which the client has the state up to `since`; undefined where it has nothing of the room. */
  readonly before: CombinedConfig | undefined;
  readonly since: number | undefined;
  /** The event by which the user left: from there on the state is none of the user's business. */
  readonly left?: StoredEvent | undefined;
  readonly upto: number;
}

export interface RequiredStatePart {
  /** As JSON. */
  readonly events: readonly string[];
  /** The types of what has changed of the room's state, whether asked for or not. */
  readonly changedTypes: ReadonlySet<string>;
}

const MEMBER = 'm.room.member';

/** What a client lacks of the state that it asks for. */
export async function requiredState(
  sliding: SlidingContext,
  answer: SlidingAnswer,
  room: ListedRoom,
  asked: StateAsked & { readonly timeline: TimelinePart },
): Promise<RequiredStatePart> {
  const { server, sentMembers } = sliding.sync;
  const { since, upto, timeline, left } = asked;
  const device = deviceOf(answer.request);
  // "Clients must flush any "membership" cache when `limited` is true."
  if (since === undefined || timeline.limited) sentMembers.forget(device, room.roomNid);
  const members = asked.config.lazyMembers ? missingMembers(sliding, answer, room, timeline) : [];
  const isNew = since === undefined;
  const hasChanged = isNew || server.streams.mayConcern(`state:${room.roomId}`, since);
  const isWider = asked.before !== undefined && asked.before.key !== asked.config.key;
  if (!hasChanged && !isWider && members.length === 0) return { events: [], changedTypes: new Set() };

  const { userId } = answer.user;
  const config = configFor(asked.config, userId);
  const before = asked.before && configFor(asked.before, userId);
  const wantsNew = (type: string, stateKey: string) =>
    isRequired(config, type, stateKey) && (before === undefined || !isRequired(before, type, stateKey));
  const base =
    isNew || isWider ? await wholeState(sliding, room, config, { left, isWanted: wantsNew }) : new Map();
  for (const [key, nid] of await membersNow(sliding, room, left, members)) base.set(key, nid);
  // After the state was read: what happens meanwhile is undone.
  const range = { after: since ?? upto, upto: left === undefined ? Number.MAX_SAFE_INTEGER : upto };
  const deltas = server.streams.mayConcern(`state:${room.roomId}`, range.after)
    ? await currentState.deltas(server.db, room.roomNid, range)
    : [];
  const lazy = new Set(members.map((userId) => stateMapKey(MEMBER, userId)));
  const tells = ({ type, stateKey }: currentState.StateDelta, key: string) =>
    isRequired(config, type, stateKey) ||
    // "All membership updates since the last sync when `limited` is false."
    (config.lazyMembers && type === MEMBER && ((!isNew && !timeline.limited) || lazy.has(key)));
  const state = rewound(base, deltas, { upto, inTimeline: new Set(), isWhole: isNew, tells });
  const loaded = await loadNids(server, state.values());
  const events = [...state.values()].map((nid) => loaded.get(nid)).filter((event) => event !== undefined);
  if (config.lazyMembers) noteMembers(sliding, answer, room, [...events, ...timeline.events]);
  const told = deltas.filter(({ position }) => position <= upto);
  return {
    events: [
      ...stateTexts(events, { now: server.clock.now() }),
      ...(answer.request.face === 'stable' && !isNew ? stubs(told, tells) : []),
    ],
    changedTypes: new Set(told.map(({ type }) => type)),
  };
}

/** "To handle state being deleted, the list may include a `StateStub` type." */
function stubs(
  deltas: readonly currentState.StateDelta[],
  tells: (delta: currentState.StateDelta, key: string) => boolean,
): string[] {
  const last = new Map(deltas.map((delta) => [stateMapKey(delta.type, delta.stateKey), delta]));
  return [...last]
    .filter(([key, delta]) => delta.eventNid === undefined && tells(delta, key))
    .map(([, { type, stateKey }]) => JSON.stringify({ type, state_key: stateKey }));
}

/** The users whose member events the timeline needs: who sent what is in it, and who is spoken of. */
function missingMembers(
  { sync }: SlidingContext,
  { request, since = 0 }: SlidingAnswer,
  { roomNid }: ListedRoom,
  { events }: TimelinePart,
): string[] {
  const users = new Set<string>();
  for (const { event } of events) {
    users.add(event.sender);
    if (event.type === MEMBER && event.stateKey !== undefined) users.add(event.stateKey);
  }
  return sync.sentMembers.missing(deviceOf(request), roomNid, { users, since }).filter(isUserId);
}

function noteMembers(
  { sync }: SlidingContext,
  { request, upto }: SlidingAnswer,
  { roomNid }: ListedRoom,
  events: readonly StoredEvent[],
): void {
  const users = events.flatMap(({ event }) =>
    event.type === MEMBER && event.stateKey !== undefined ? [event.stateKey] : [],
  );
  sync.sentMembers.note(deviceOf(request), roomNid, { users, position: upto });
}

/** The state of now, or of when the user left, as far as it is asked for: the fewest reads that have it. */
async function wholeState(
  sliding: SlidingContext,
  room: ListedRoom,
  config: UserConfig,
  which: {
    readonly left: StoredEvent | undefined;
    readonly isWanted: (type: string, stateKey: string) => boolean;
  },
): Promise<Map<string, number>> {
  const rows =
    which.left === undefined
      ? await currentRows(sliding, room.roomNid, config)
      : await rowsAt(sliding, which.left, config);
  const wanted = rows.filter(({ type, stateKey }) => which.isWanted(type, stateKey));
  return new Map(wanted.map((row) => [stateMapKey(row.type, row.stateKey), row.eventNid]));
}

type StateRow = Awaited<ReturnType<typeof currentState.all>>[number];

async function currentRows(
  { sync }: SlidingContext,
  roomNid: number,
  config: UserConfig,
): Promise<StateRow[]> {
  const { db } = sync.server;
  const { whole, types, keys } = readsFor(config);
  if (whole === 'all') return currentState.all(db, roomNid);
  const rows = await currentState.some(db, roomNid, keys);
  if (whole === 'besides members') rows.push(...(await currentState.allBesides(db, roomNid, MEMBER)));
  // Those that are asked for whole are few.
  for (const type of types) {
    if (whole === undefined || type === MEMBER) rows.push(...(await currentState.ofType(db, roomNid, type)));
  }
  return rows;
}

async function rowsAt({ sync }: SlidingContext, left: StoredEvent, config: UserConfig): Promise<StateRow[]> {
  const { whole, types, keys } = readsFor(config);
  const isExact = whole === undefined && types.size === 0;
  const events = await stateAt(sync.server, left, 'after', ...(isExact ? [keys] : []));
  return events.map(({ event, nid }) => ({
    type: event.type,
    stateKey: event.stateKey ?? '',
    eventNid: nid,
  }));
}

async function membersNow(
  { sync }: SlidingContext,
  { roomNid }: ListedRoom,
  left: StoredEvent | undefined,
  members: readonly string[],
): Promise<Map<string, number>> {
  if (members.length === 0) return new Map();
  const keys = members.map((userId) => ({ type: MEMBER, stateKey: userId }));
  const rows: readonly StateRow[] =
    left === undefined
      ? await currentState.some(sync.server.db, roomNid, keys)
      : (await stateAt(sync.server, left, 'after', keys)).map(({ event, nid }) => ({
          ...{ type: MEMBER, stateKey: event.stateKey ?? '', eventNid: nid },
        }));
  return new Map(rows.map((row) => [stateMapKey(row.type, row.stateKey), row.eventNid]));
}
