/** What a state event does to the room's state now, and how it lost its place there. */

import * as currentState from '#storage/current-state.ts';
import type { RoomsReader } from '../context.ts';
import { type Event, stateMapKey } from '../event.ts';
import { loadNid, loadNids } from '../load.ts';
import type { Room } from '../room.ts';
import { headOf, stateOfGroup } from '../room-head.ts';
import type { StoredEvent } from '../stored-event.ts';
import { standsUpon } from '../watch-state.ts';
import { headsAt } from './heads.ts';
import { lostIn } from './resolution.ts';
import { inWords, keyInWords } from './words.ts';

const TAKEN_BACK =
  'The state that was made does not allow it: the power for it was taken back, which is no moving backwards by itself.';

/** What became of a state event in the state of its room, in lines; none for a message or a rejected event. */
export async function effectOn(ctx: RoomsReader, room: Room, stored: StoredEvent): Promise<string[]> {
  const { event, nid, status } = stored;
  if (event.stateKey === undefined || status === 'rejected') return [];
  const head = await headOf(ctx, room.roomNid);
  const current = await under(ctx, head.stateGroup, event);
  if (current?.nid === nid) return [`It counts now as ${keyInWords(event)} of the room.`];
  const counts = current === undefined ? 'nothing' : inWords(current.event);
  const lines = [`It does not count now as ${keyInWords(event)} of the room; what counts is ${counts}`];
  const key = { type: event.type, stateKey: event.stateKey };
  const moved = await currentState.replaced(ctx.db, room.roomNid, key, nid);
  if (moved !== undefined) return [...lines, ...(await replacedBy(ctx, room, stored, moved))];
  return [...lines, ...(await neverCounted(ctx, room, stored))];
}

/** It was part of the current state, and is no more. */
async function replacedBy(
  ctx: RoomsReader,
  room: Room,
  stored: StoredEvent,
  { position, eventNid }: currentState.StateDelta,
): Promise<string[]> {
  const successor = eventNid === undefined ? undefined : await loadNid(ctx, eventNid);
  const before = successor?.stateBefore;
  const stood = before === undefined ? undefined : await under(ctx, before, stored.event);
  if (successor !== undefined && stood?.nid === stored.nid && successor.position === position) {
    return [`It was replaced by the one that followed it: ${inWords(successor.event)}`];
  }
  const heads = await candidates(ctx, room, position);
  for (const some of heads) {
    // The first that leads to what was written then.
    const { winner, isTakenBack, lines } = await lostIn(ctx, room, some, stored);
    if (winner?.nid !== successor?.nid) continue;
    return [...lines, ...(isTakenBack ? [TAKEN_BACK] : await resetBy(ctx, stored, successor))];
  }
  return [
    `It was replaced by state resolution, at position ${position}: by ${successor === undefined ? 'nothing' : inWords(successor.event)}`,
    'The states that were resolved then cannot be found any more.',
    ...(await resetBy(ctx, stored, successor)),
  ];
}

/** It never was part of the current state. */
async function neverCounted(ctx: RoomsReader, room: Room, stored: StoredEvent): Promise<string[]> {
  const { position, event } = stored;
  if (position === undefined || position < 0) return ['It has never been part of the current state here.'];
  for (const heads of await candidates(ctx, room, position)) {
    if (heads.length < 2) continue;
    const { winner, lines } = await lostIn(ctx, room, heads, stored);
    if (winner?.event.eventId !== event.eventId) return ['It did not count when it came.', ...lines];
  }
  return [
    'It did not count when it came: the state was told by another server, or by events that count more.',
  ];
}

/** The newest events of then, as they can be found, and those of now, where they have states that differ. */
async function candidates(ctx: RoomsReader, room: Room, position: number): Promise<StoredEvent[][]> {
  const head = await headOf(ctx, room.roomNid);
  const now = await loadNids(
    ctx,
    head.forwardExtremities.map(({ nid }) => nid),
  );
  const then = await headsAt(ctx, room.roomNid, position);
  return [then, [...now.values()]].filter((heads) => heads.length > 0);
}

/** "State moved backwards here": what counts now is older, or nothing does. */
async function resetBy(
  ctx: RoomsReader,
  { event, nid }: StoredEvent,
  successor: StoredEvent | undefined,
): Promise<string[]> {
  const isBackwards =
    successor === undefined || successor.nid < nid || (await standsUpon(ctx, event, successor.event));
  if (!isBackwards) return [];
  const to = successor === undefined ? 'no event at all' : `an older event, ${successor.event.eventId}`;
  return [`The state moved backwards here: from this event to ${to}.`];
}

async function under(ctx: RoomsReader, group: number, event: Event): Promise<StoredEvent | undefined> {
  const { type, stateKey = '' } = event;
  return (await stateOfGroup(ctx, group, [{ type, stateKey }])).get(stateMapKey(type, stateKey));
}
