import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { EventId } from '#keys/ids.ts';
import { conflictsOf, type StateIds } from '#rooms/state-res/conflicts.ts';
import { missingFor, resolve } from '#rooms/state-res/resolve.ts';
import { EventGraph } from './event-graph.ts';
import { randomRoom } from './random-room.ts';

const VERSIONS = ['1', '2', '10', '11', '12'];

function sorted(state: StateIds): [string, EventId][] {
  return [...state].sort(([a], [b]) => (a < b ? -1 : 1));
}

for (const version of VERSIONS) {
  test(`v${version}: the random rooms are of use: most of them end in conflicting states`, () => {
    const rooms = fc.sample(randomRoom(version), { numRuns: 200, seed: 1 });
    const conflicts = rooms.map(({ states }) => conflictsOf(states).conflicted.size);
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

  test(`v${version}: loading what is missing, round by round, loads all that the resolution looks at`, () => {
    fc.assert(
      fc.property(randomRoom(version), ({ graph, states }) => {
        const loaded = new EventGraph(version);
        let rounds = 0;
        for (;;) {
          const missing = missingFor(loaded.rules, states, loaded);
          if (missing.length === 0) break;
          rounds++;
          loadWithChains(missing, { from: graph, into: loaded });
        }
        assert.ok(rounds <= 4, `${rounds} rounds`);
        const resolved = resolve(loaded.rules, states, loaded);
        assert.deepEqual(sorted(resolved), sorted(graph.resolve(states)));
      }),
      { numRuns: 200 },
    );
  });
}

function loadWithChains(
  eventIds: readonly EventId[],
  { from, into }: { readonly from: EventGraph; readonly into: EventGraph },
): void {
  const reached = new Set(eventIds);
  for (const eventId of reached) {
    const event = from.event(eventId);
    assert.ok(event);
    into.events.set(eventId, event);
    for (const authEventId of event.authEvents) reached.add(authEventId);
  }
}
