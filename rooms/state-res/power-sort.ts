import type { EventId } from '#keys/ids.ts';
import type { Event } from '../event.ts';
import { powerOf } from '../power.ts';
import { type AuthGraph, createEventOf, loadedEvent, namedAuthEvent } from './auth-graph.ts';
import { Heap } from './heap.ts';
import { forEach, type Steps } from './steps.ts';

interface Vertex {
  readonly event: Event;
  /** The sender's power level, "when looking at their respective auth_events". */
  readonly power: number;
  /** The events of the set that name this one in their `auth_events`. */
  readonly citedBy: Vertex[];
  /** How many of its auth events in the set are not in the ordering yet. */
  waitsFor: number;
}

/**
 * The reverse topological power ordering of a set of events: "the lexicographically smallest topological
 * ordering based on the DAG formed by auth events", earliest event first. "The reverse topological power
 * ordering can be found by sorting the events using Kahn's algorithm for topological sorting, and at each step
 * selecting, among all the candidate vertices, the smallest vertex using the above comparison relation."
 */
export function* powerSort(graph: AuthGraph, eventIds: ReadonlySet<EventId>): Steps<Event[]> {
  const candidates = new Heap(comparePower);
  const vertices = yield* verticesOf(graph, eventIds);
  yield* forEach(vertices, (vertex) => {
    if (vertex.waitsFor === 0) candidates.push(vertex);
  });
  const ordered: Event[] = [];
  yield* forEach(candidates.drain(), (next) => {
    ordered.push(next.event);
    for (const citing of next.citedBy) {
      citing.waitsFor -= 1;
      if (citing.waitsFor === 0) candidates.push(citing);
    }
  });
  return ordered;
}

function* verticesOf(graph: AuthGraph, eventIds: ReadonlySet<EventId>): Steps<Iterable<Vertex>> {
  const vertices = new Map<EventId, Vertex>();
  yield* forEach(eventIds, (eventId) => {
    const event = loadedEvent(graph, eventId);
    vertices.set(eventId, { event, power: senderPower(graph, event), citedBy: [], waitsFor: 0 });
  });
  yield* forEach(vertices.values(), (vertex) => {
    for (const authEventId of new Set(vertex.event.authEvents)) {
      const cited = vertices.get(authEventId);
      if (cited === undefined) continue;
      cited.citedBy.push(vertex);
      vertex.waitsFor += 1;
    }
  });
  return vertices.values();
}

function senderPower(graph: AuthGraph, event: Event): number {
  const powerLevels = namedAuthEvent(graph, event, { type: 'm.room.power_levels', stateKey: '' });
  return powerOf(createEventOf(graph, event), powerLevels).of(event.sender);
}

/**
 * "x < y if x's sender has greater power level than y's sender [...]; or the senders have the same power level,
 * but x's origin_server_ts is less than y's origin_server_ts; or the senders have the same power level and the
 * events have the same origin_server_ts, but x's event_id is less than y's event_id."
 */
function comparePower(x: Vertex, y: Vertex): number {
  // Not a subtraction: two creators are both infinitely powerful.
  if (x.power !== y.power) return x.power > y.power ? -1 : 1;
  return compareAge(x.event, y.event);
}

/** By `origin_server_ts`, then by `event_id`: how both orderings of state resolution break ties. */
export function compareAge(x: Event, y: Event): number {
  if (x.originServerTs !== y.originServerTs) return x.originServerTs - y.originServerTs;
  return x.eventId < y.eventId ? -1 : x.eventId > y.eventId ? 1 : 0;
}
