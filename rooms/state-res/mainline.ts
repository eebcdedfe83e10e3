import type { EventId } from '#keys/ids.ts';
import type { Event } from '../event.ts';
import { type AuthGraph, loadedEvent, namedAuthEvent } from './auth-graph.ts';
import { compareAge } from './power-sort.ts';

/**
 * The mainline ordering of events based on the power levels event of a state, undefined where it has none:
 * "x < y if the mainline position of x is greater than the mainline position of y (i.e. the auth chain of x is
 * based on an earlier event in the mainline than y); or the mainline positions of the events are the same, but
 * x's origin_server_ts is less than y's origin_server_ts; or [...] x's event_id is less than y's event_id."
 */
export function mainlineSort(
  graph: AuthGraph,
  eventIds: Iterable<EventId>,
  powerLevels: Event | undefined,
): Event[] {
  const positions = mainlineOf(graph, powerLevels);
  const placed: { readonly event: Event; readonly position: number }[] = [];
  for (const eventId of eventIds) {
    const event = loadedEvent(graph, eventId);
    placed.push({ event, position: mainlinePosition(graph, event, positions) });
  }
  placed.sort((x, y) => {
    // Not a subtraction: two positions may both be infinite.
    if (x.position !== y.position) return x.position > y.position ? -1 : 1;
    return compareAge(x.event, y.event);
  });
  return placed.map(({ event }) => event);
}

/**
 * "Let P = P_0 be an m.room.power_levels event. Starting with i = 0, repeatedly fetch P_{i+1}, the
 * m.room.power_levels event in the auth_events of P_i." The index of each event of the mainline.
 */
function mainlineOf(graph: AuthGraph, powerLevels: Event | undefined): Map<EventId, number> {
  const positions = new Map<EventId, number>();
  for (let event = powerLevels; event !== undefined; event = powerLevelsBefore(graph, event)) {
    positions.set(event.eventId, positions.size);
  }
  return positions;
}

/**
 * "Find the smallest index j ≥ 1 for which e_j belongs to the mainline of P. If such a j exists, then e_j = P_i
 * for some unique index i ≥ 0. Otherwise set i = ∞. In both cases, the mainline position of e is i."
 *
 * Notes in `positions` what it finds for the power levels events on the way, so that no chain is walked twice.
 */
function mainlinePosition(graph: AuthGraph, event: Event, positions: Map<EventId, number>): number {
  const walked: EventId[] = [];
  let position = Number.POSITIVE_INFINITY;
  for (let at = powerLevelsBefore(graph, event); at !== undefined; at = powerLevelsBefore(graph, at)) {
    const known = positions.get(at.eventId);
    if (known !== undefined) {
      position = known;
      break;
    }
    walked.push(at.eventId);
  }
  for (const eventId of walked) positions.set(eventId, position);
  return position;
}

function powerLevelsBefore(graph: AuthGraph, event: Event): Event | undefined {
  return namedAuthEvent(graph, event, { type: 'm.room.power_levels', stateKey: '' });
}
