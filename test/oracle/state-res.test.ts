import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EventId } from '#keys/ids.ts';
import { type Event, stateMapKey } from '#rooms/event.ts';
import { conflictsOf } from '#rooms/state-res/conflicts.ts';
import { resolution, resolve, type StateIds } from '#rooms/state-res/resolve.ts';
import { tryOn } from '#test/harness/rounds.ts';
import { idsOf, type Ours, oursOf, sorted } from './ours.ts';
import type { PlainState } from './plain-event.ts';
import { type RandomRoom, randomRoom } from './random-room.ts';

interface Case {
  readonly room: RandomRoom;
  readonly ours: Ours;
  /** Those after the lines' last events, and after some other events. */
  readonly plainStates: readonly PlainState[];
  readonly states: readonly StateIds[];
}

/** States of a room that may be in conflict. */
const cases: fc.Arbitrary<Case> = fc
  .tuple(randomRoom(), fc.array(fc.nat(999), { maxLength: 3 }))
  .map(([room, more]) => {
    const ids = [...room.plain.events.values()]
      .filter(({ roomId }) => roomId === room.roomId)
      .map(({ id }) => id);
    const heads = [...room.lines, ...more.map((index) => [ids[index % ids.length] ?? ''])];
    const plainStates = heads.map((ends) => room.plain.resolve(ends)).filter((state) => state !== undefined);
    return {
      room,
      ours: oursOf(room),
      plainStates,
      states: plainStates.map(idsOf),
      [fc.toStringMethod]: () => `${fc.stringify(room)}heads ${JSON.stringify(heads)}`,
    };
  });

const GRAPHS = { usual: 100, of: 'graphs' };

test('3.6: our resolution is that of the plain implementation', async (t) => {
  await tryOn(t, cases, { usual: 500, of: 'graphs' }, ({ room, ours, plainStates, states }) => {
    const plainly = room.plain.resolveStates(plainStates);
    assert.deepEqual(sorted(resolve(ours.rules, states, ours)), sorted(idsOf(plainly)));
  });
});

test('3.6: the order of the states does not matter, nor does a state given twice', async (t) => {
  const shuffled = cases.chain((one) =>
    fc.tuple(fc.constant(one), fc.shuffledSubarray([...one.states], { minLength: one.states.length })),
  );
  await tryOn(t, shuffled, GRAPHS, ([{ ours, states }, others]) => {
    const expected = sorted(resolve(ours.rules, states, ours));
    assert.deepEqual(sorted(resolve(ours.rules, others, ours)), expected);
    assert.deepEqual(sorted(resolve(ours.rules, [...others, ...others.slice(0, 1)], ours)), expected);
  });
});

test('3.7: one state resolves to itself, and so do two that are the same', async (t) => {
  await tryOn(t, cases, GRAPHS, ({ ours, states }) => {
    for (const state of states) {
      assert.deepEqual(sorted(resolve(ours.rules, [state], ours)), sorted(state));
      assert.deepEqual(sorted(resolve(ours.rules, [state, new Map(state)], ours)), sorted(state));
    }
  });
});

test('3.7: what the states agree on stays, all is from the room and under its key, and nothing was rejected by its auth events', async (t) => {
  await tryOn(t, cases, GRAPHS, ({ room, ours, states }) => {
    const resolved = resolve(ours.rules, states, ours);
    for (const [key, eventId] of agreedOf(states)) assert.equal(resolved.get(key), eventId);
    for (const [key, eventId] of resolved) {
      const event = ours.event(eventId);
      assert.ok(event?.stateKey !== undefined);
      assert.equal(key, stateMapKey(event.type, event.stateKey));
      assert.ok(room.plain.isAccepted(eventId));
    }
  });
});

test('3.8: what a resolution wants is all that it looks at', async (t) => {
  await tryOn(t, cases, GRAPHS, ({ ours, states }) => {
    const { unconflicted, differing } = conflictsOf(states);
    const loaded = new Map<EventId, Event>();
    const known = new Map<string, EventId>();
    const graph = { event: (eventId: EventId) => loaded.get(eventId) };
    const steps = resolution(ours.rules, { unconflicted: known, differing }, graph);
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) {
      if (step.value?.kind === 'events') {
        const reached = new Set(step.value.eventIds);
        for (const eventId of reached) {
          const event = ours.event(eventId);
          assert.ok(event);
          loaded.set(eventId, event);
          if (step.value.chains) for (const authEventId of event.authEvents) reached.add(authEventId);
        }
      }
      if (step.value?.kind !== 'agreed') continue;
      for (const [key, eventId] of unconflicted) {
        if (step.value.keys === 'all' || step.value.keys.has(key)) known.set(key, eventId);
      }
    }
    const resolved = new Map([...unconflicted, ...step.value]);
    assert.deepEqual(sorted(resolved), sorted(resolve(ours.rules, states, ours)));
  });
});

test('the random rooms are of use: many end in conflicting states, some in large conflicts', () => {
  const sizes = fc.sample(cases, { numRuns: 100, seed: 1 }).map(({ states }) => disputedOf(states).size);
  assert.ok(sizes.filter((size) => size > 1).length > 35, `${sizes}`);
  assert.ok(sizes.filter((size) => size > 8).length > 5, `${sizes}`);
});

/** What all states hold under the same key. */
function agreedOf([first = new Map(), ...others]: readonly StateIds[]): [string, EventId][] {
  return [...first].filter(([key, eventId]) => others.every((state) => state.get(key) === eventId));
}

function disputedOf(states: readonly StateIds[]): Set<EventId> {
  const agreed = new Set(agreedOf(states).map(([, eventId]) => eventId));
  return new Set(states.flatMap((state) => [...state.values()]).filter((eventId) => !agreed.has(eventId)));
}
