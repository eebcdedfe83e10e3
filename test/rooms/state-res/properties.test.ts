import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { EventId } from '#keys/ids.ts';
import { conflictedSet, conflictsOf, type StateIds } from '#rooms/state-res/conflicts.ts';
import { resolution } from '#rooms/state-res/resolve.ts';
import { EventGraph } from './event-graph.ts';
import { randomRoom } from './random-room.ts';

const VERSIONS = ['1', '2', '10', '11', '12'];

function sorted(state: StateIds): [string, EventId][] {
  return [...state].sort(([a], [b]) => (a < b ? -1 : 1));
}

for (const version of VERSIONS) {
  test(`v${version}: the random rooms are of use: most of them end in conflicting states`, () => {
    const rooms = fc.sample(randomRoom(version), { numRuns: 200, seed: 1 });
    const conflicts = rooms.map(({ states }) => conflictedSet(conflictsOf(states)).size);
    assert.ok(conflicts.filter((size) => size > 1).length > 100);
    assert.ok(conflicts.filter((size) => size > 8).length > 20);
  });

  test(`v${version}: the order of the states does not matter, nor does a state given twice`, () => {
    const rooms = randomRoom(version).chain((room) =>
      fc.tuple(fc.constant(room), fc.shuffledSubarray([...room.states], { minLength: room.states.length })),
    );
    fc.assert(
      fc.property(rooms, ([{ graph, states }, shuffled]) => {
        const expected = sorted(graph.resolve(states));
        assert.deepEqual(sorted(graph.resolve(shuffled)), expected);
        assert.deepEqual(sorted(graph.resolve([...shuffled, ...shuffled.slice(0, 1)])), expected);
      }),
      { numRuns: 200 },
    );
  });

  test(`v${version}: one state resolves to itself, and so do two that are the same`, () => {
    fc.assert(
      fc.property(randomRoom(version), ({ graph, states }) => {
        for (const state of states) {
          assert.deepEqual(sorted(graph.resolve([state])), sorted(state));
          assert.deepEqual(sorted(graph.resolve([state, new Map(state)])), sorted(state));
        }
      }),
      { numRuns: 50 },
    );
  });

  test(`v${version}: what the states agree on stays, and nothing comes from elsewhere`, () => {
    fc.assert(
      fc.property(randomRoom(version), ({ graph, states }) => {
        const resolved = graph.resolve(states);
        for (const [key, eventId] of conflictsOf(states).unconflicted)
          assert.equal(resolved.get(key), eventId);
        for (const [key, eventId] of resolved) {
          const event = graph.event(eventId);
          assert.ok(event);
          assert.equal(key, `${event.type}\0${event.stateKey}`);
        }
      }),
      { numRuns: 200 },
    );
  });

  test(`v${version}: what a resolution wants is all that it looks at`, () => {
    fc.assert(
      fc.property(randomRoom(version), ({ graph, states }) => {
        const { unconflicted, differing } = conflictsOf(states);
        const loaded = new EventGraph(version);
        const known = new Map<string, EventId>();
        const steps = resolution(loaded.rules, { unconflicted: known, differing }, loaded);
        let step = steps.next();
        for (; step.done !== true; step = steps.next()) {
          if (step.value?.kind === 'events') load(step.value, { from: graph, into: loaded });
          if (step.value?.kind !== 'agreed') continue;
          for (const [key, eventId] of unconflicted) {
            if (step.value.keys === 'all' || step.value.keys.has(key)) known.set(key, eventId);
          }
        }
        const resolved = new Map([...unconflicted, ...step.value]);
        assert.deepEqual(sorted(resolved), sorted(graph.resolve(states)));
      }),
      { numRuns: 200 },
    );
  });
}

function load(
  { eventIds, chains }: { readonly eventIds: Iterable<EventId>; readonly chains: boolean },
  { from, into }: { readonly from: EventGraph; readonly into: EventGraph },
): void {
  const reached = new Set(eventIds);
  for (const eventId of reached) {
    const event = from.event(eventId);
    assert.ok(event);
    into.events.set(eventId, event);
    if (chains) for (const authEventId of event.authEvents) reached.add(authEventId);
  }
}
