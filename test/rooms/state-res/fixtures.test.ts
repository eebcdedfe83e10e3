import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { StateIds } from '#rooms/state-res/conflicts.ts';
import { fc } from '#test/harness/rounds.ts';
import { EventGraph, type GraphEvent } from './event-graph.ts';

/** An event graph, some states of it by the names of their events, and the state that they resolve to. */
interface Fixture {
  readonly title: string;
  readonly versions: readonly string[];
  readonly events: readonly GraphEvent[];
  readonly states: readonly (readonly string[])[];
  readonly resolved: readonly string[];
}

const folder = new URL('./fixtures/', import.meta.url);

for (const file of readdirSync(folder).sort()) {
  const fixture = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Fixture;
  for (const version of fixture.versions) {
    test(`v${version}: ${fixture.title}`, () => {
      const graph = new EventGraph(version);
      for (const event of fixture.events) graph.add(event);
      const states = fixture.states.map((names) => graph.stateOf(names));
      assert.deepEqual(namesOf(graph.resolve(states)), [...fixture.resolved].sort());
      fc.assert(
        fc.property(fc.shuffledSubarray(states, { minLength: states.length }), (shuffled) => {
          const reordered = shuffled.map((state) => new Map([...state].reverse()));
          assert.deepEqual(namesOf(graph.resolve(reordered)), [...fixture.resolved].sort());
        }),
        { numRuns: 20 },
      );
    });
  }
}

function namesOf(state: StateIds): string[] {
  return [...state.values()].map((eventId) => eventId.slice(1)).sort();
}
