import type { EventId } from '#keys/ids.ts';
import type { Event } from '../event.ts';
import { type AuthGraph, loadedEvent, namedAuthEvent } from './auth-graph.ts';
import { Heap } from './heap.ts';
import { compareAge } from './power-sort.ts';
import { forEach, PORTION, type Steps } from './steps.ts';

interface Placed {
  readonly event: Event;
  /** "The mainline position", infinite for an event beside the mainline. */
  readonly position: number;
}

/**
 * The mainline ordering of events based on the power levels event of a state, undefined where it has none, from the
 * smallest to the largest.
 */
export function* mainlineSort(
  graph: AuthGraph,
  eventIds: Iterable<EventId>,
  powerLevels: Event | undefined,
): Steps<Event[]> {
  const positions = yield* mainlineOf(graph, powerLevels);
  const sorting = new Heap(compareMainline);
  let placed = 0;
  for (const eventId of eventIds) {
    const event = loadedEvent(graph, eventId);
    sorting.push({ event, position: yield* mainlinePosition(graph, event, positions) });
    placed += 1;
    if (placed % PORTION === 0) yield;
  }
  const sorted: Event[] = [];
  yield* forEach(sorting.drain(), ({ event }) => sorted.push(event));
  return sorted;
}

/**
 * "x < y if the mainline position of x is greater than the mainline position of y (i.e. the auth chain of x is
 * based on an earlier event in the mainline than y); or the mainline positions of the events are the same, but
 * x's origin_server_ts is less than y's origin_server_ts; or [...] x's event_id is less than y's event_id."
 */
function compareMainline(x: Placed, y: Placed): number {
  // Not a subtraction: two positions may both be infinite.
  if (x.position !== y.position) return x.position > y.position ? -1 : 1;
  return compareAge(x.event, y.event);
}

/**
 * "Let P = P_0 be an m.room.power_levels event. Starting with i = 0, repeatedly fetch P_{i+1}, the
 * m.room.power_levels event in the auth_events of P_i." The index of each event of the mainline.
 */
function* mainlineOf(graph: AuthGraph, powerLevels: Event | undefined): Steps<Map<EventId, number>> {
  const positions = new Map<EventId, number>();
  yield* forEach(powerLevelsFrom(graph, powerLevels), ({ eventId }) => {
    positions.set(eventId, positions.size);
  });
  return positions;
}

/**
 * "Find the smallest index j ≥ 1 for which e_j belongs to the mainline of P. If such a j exists, then e_j = P_i
 * for some unique index i ≥ 0. Otherwise set i = ∞. In both cases, the mainline position of e is i."
 *
 * Notes in `positions` what it finds for the power levels events on the way, so that no chain is walked twice.
 */
function* mainlinePosition(graph: AuthGraph, event: Event, positions: Map<EventId, number>): Steps<number> {
  const walked: EventId[] = [];
  let position = Number.POSITIVE_INFINITY;
  for (const { eventId } of powerLevelsFrom(graph, powerLevelsBefore(graph, event))) {
    const known = positions.get(eventId);
    if (known !== undefined) {
      position = known;
      break;
    }
    walked.push(eventId);
    if (walked.length % PORTION === 0) yield;
  }
  for (const eventId of walked) positions.set(eventId, position);
  return position;
}

/** A power levels event, the one that it names in its `auth_events`, and so on. */
function* powerLevelsFrom(graph: AuthGraph, powerLevels: Event | undefined): Generator<Event, void, void> {
  for (let event = powerLevels; event !== undefined; event = powerLevelsBefore(graph, event)) yield event;
}

function powerLevelsBefore(graph: AuthGraph, event: Event): Event | undefined {
  return namedAuthEvent(graph, event, { type: 'm.room.power_levels', stateKey: '' });
}
