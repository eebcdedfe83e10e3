import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, UserId } from '#keys/ids.ts';
import type { Event } from '#rooms/event.ts';
import { authDifference } from '#rooms/state-res/auth-difference.ts';
import { conflictedSet, conflictsOf } from '#rooms/state-res/conflicts.ts';
import { mainlineSort } from '#rooms/state-res/mainline.ts';
import { powerSort } from '#rooms/state-res/power-sort.ts';
import { resolution, resolve } from '#rooms/state-res/resolve.ts';
import { atOnce } from '#rooms/state-res/steps.ts';
import { conflictedSubgraph } from '#rooms/state-res/subgraph.ts';
import { isPowerEvent } from '#rooms/state-res/v2.ts';
import { CREATOR, EventGraph, type GraphEvent, idOf, rulesFor } from './event-graph.ts';

const ALICE: UserId = '@alice:a.example';
const BOB: UserId = '@bob:b.example';

function note(id: string, auth: readonly string[], ts = 1, state_key = id): GraphEvent {
  return { id, type: 'org.example.note', state_key, sender: CREATOR, content: {}, auth, ts };
}

function powerLevels(id: string, auth: readonly string[], ts = 1, users = { [CREATOR]: 100 }): GraphEvent {
  return { id, type: 'm.room.power_levels', state_key: '', sender: CREATOR, content: { users }, auth, ts };
}

function member(id: string, user: UserId, membership: string, options: Partial<GraphEvent> = {}): GraphEvent {
  return {
    id,
    type: 'm.room.member',
    state_key: user,
    sender: user,
    content: { membership },
    auth: [],
    ts: 1,
    ...options,
  };
}

/** A room of version 11 with its creator, public, and whatever is added. */
function roomWith(events: readonly GraphEvent[], version = '11'): EventGraph {
  const graph = new EventGraph(version);
  graph.add({
    id: 'create',
    type: 'm.room.create',
    state_key: '',
    sender: CREATOR,
    content: {},
    auth: [],
    ts: 0,
  });
  graph.add(member('creator', CREATOR, 'join', { auth: ['create'] }));
  const rules = { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'public' } };
  graph.add({ ...rules, id: 'rules', sender: CREATOR, auth: ['create', 'creator'], ts: 1 });
  for (const event of events) graph.add(event);
  return graph;
}

function names(events: Iterable<Event | EventId>): string[] {
  return [...events].map((event) => (typeof event === 'string' ? event : event.eventId).slice(1));
}

function idsOf(...ids: readonly string[]): Set<EventId> {
  return new Set(ids.map(idOf));
}

test('conflicts: a key with one value in every state is unconflicted, any other is conflicted', () => {
  const graph = roomWith([note('a', ['create']), note('b', ['create']), note('c', ['create'], 1, 'b')]);
  const conflicts = conflictsOf([graph.stateOf(['create', 'a', 'b']), graph.stateOf(['create', 'c'])]);
  assert.deepEqual(names(conflicts.unconflicted.values()), ['create']);
  assert.deepEqual(names(conflictedSet(conflicts)).sort(), ['a', 'b', 'c']);
});

test('conflicts: of no state there is no state', () => {
  assert.deepEqual([...resolve(rulesFor('12'), [], new EventGraph('12'))], []);
});

test('auth difference: what is in some auth chains but not in all, beside the conflicted events', () => {
  const graph = roomWith([
    powerLevels('p1', ['create', 'creator']),
    powerLevels('p2', ['create', 'creator', 'p1']),
    powerLevels('p3', ['create', 'creator', 'p2']),
    note('old', ['create', 'p1']),
    note('new', ['create', 'p3'], 1, 'old'),
    note('agreed', ['create', 'p2']),
  ]);
  const differing = [graph.stateOf(['create', 'old']), graph.stateOf(['create', 'new'])];
  const difference = atOnce(authDifference(graph, conflictsOf(differing)));
  assert.deepEqual(names(difference).sort(), ['p2', 'p3']);
  // An event that both states hold needs p2: then it is in both chains.
  const agreeing = [graph.stateOf(['create', 'old', 'agreed']), graph.stateOf(['create', 'new', 'agreed'])];
  const smaller = atOnce(authDifference(graph, conflictsOf(agreeing)));
  assert.deepEqual(names(smaller), ['p3']);
});

test('conflicted state subgraph: the events on the paths between conflicted events, and these', () => {
  const graph = roomWith([
    note('bottom', ['create']),
    note('left', ['bottom']),
    note('right', ['bottom']),
    note('top', ['left', 'right']),
    note('aside', ['create']),
    note('above', ['top']),
    note('alone', ['aside']),
  ]);
  const subgraph = atOnce(conflictedSubgraph(graph, idsOf('bottom', 'top', 'alone')));
  assert.deepEqual(names(subgraph).sort(), ['alone', 'bottom', 'left', 'right', 'top']);
});

test('power events: power levels, join rules, and bans and kicks of others', () => {
  const graph = roomWith([
    powerLevels('power', []),
    member('join', ALICE, 'join'),
    member('leave', ALICE, 'leave'),
    member('kick', ALICE, 'leave', { sender: BOB }),
    member('ban', ALICE, 'ban', { sender: BOB }),
    member('invite', ALICE, 'invite', { sender: BOB }),
    note('note', []),
  ]);
  const found = graph.events.values().filter(isPowerEvent);
  assert.deepEqual(names(found).sort(), ['ban', 'kick', 'power', 'rules']);
});

test('reverse topological power ordering: auth events first, then power, then time, then id', () => {
  const users = { [CREATOR]: 100, [ALICE]: 50 };
  const auth = ['create', 'power'];
  const graph = roomWith([
    powerLevels('power', ['create', 'creator'], 500, users),
    { ...note('of-alice', auth, 1), sender: ALICE },
    { ...note('of-bob', auth, 0), sender: BOB },
    note('late', auth, 30),
    note('b', auth, 20),
    note('a', auth, 20),
    note('after-bob', [...auth, 'of-bob'], 0),
  ]);
  const events = idsOf('after-bob', 'late', 'of-bob', 'b', 'a', 'of-alice', 'power');
  const expected = ['power', 'a', 'b', 'late', 'of-alice', 'of-bob', 'after-bob'];
  assert.deepEqual(names(atOnce(powerSort(graph, events))), expected);
  assert.deepEqual(names(atOnce(powerSort(graph, new Set([...events].reverse())))), expected);
});

test('reverse topological power ordering: without power levels the creator has 100, in version 12 more than any', () => {
  const users = { [ALICE]: 1_000 };
  for (const version of ['10', '11', '12']) {
    const graph = roomWith(
      [
        powerLevels('power', ['create', 'creator'], 1, users),
        { ...note('of-alice', ['create', 'power'], 1), sender: ALICE },
        note('of-creator', ['create'], 2),
      ],
      version,
    );
    const expected = version === '12' ? ['of-creator', 'of-alice'] : ['of-alice', 'of-creator'];
    assert.deepEqual(names(atOnce(powerSort(graph, idsOf('of-alice', 'of-creator')))), expected, version);
  }
});

test('mainline ordering: older power levels first, those beside the mainline before all, then time, then id', () => {
  const graph = roomWith([
    powerLevels('p1', ['create']),
    powerLevels('p2', ['create', 'p1']),
    powerLevels('beside', ['create', 'p1']),
    powerLevels('p3', ['create', 'p2']),
    note('none', ['create'], 900),
    note('on-p1', ['create', 'p1'], 800),
    note('on-beside', ['create', 'beside'], 700),
    note('on-p3-b', ['create', 'p3'], 1),
    note('on-p3-a', ['create', 'p3'], 1),
    note('on-p2', ['create', 'p2'], 500),
  ]);
  const events = idsOf('on-p3-b', 'on-p2', 'on-beside', 'none', 'on-p1', 'on-p3-a');
  const sorted = atOnce(mainlineSort(graph, events, graph.event(idOf('p3'))));
  assert.deepEqual(names(sorted), ['none', 'on-beside', 'on-p1', 'on-p2', 'on-p3-a', 'on-p3-b']);
  assert.deepEqual(names(atOnce(mainlineSort(graph, idsOf('none', 'on-p1', 'on-p2'), undefined))), [
    'on-p2',
    'on-p1',
    'none',
  ]);
});

test('iterative auth checks: a rejected auth event does not authorise', () => {
  const graph = roomWith([
    powerLevels('power', ['create', 'creator'], 1, { [CREATOR]: 100, [ALICE]: 50 }),
    member('alice', ALICE, 'join', { auth: ['create', 'power', 'rules'] }),
    { ...note('note', ['create', 'power', 'alice'], 5), sender: ALICE },
  ]);
  // `agreed` brings `alice` into both auth chains, so that she is not in the auth difference.
  graph.add(note('agreed', ['create', 'power', 'alice']));
  const base = ['create', 'creator', 'rules', 'power', 'agreed'];
  const states = [graph.stateOf(base), graph.stateOf([...base, 'note'])];
  assert.ok(names(graph.resolve(states).values()).includes('note'));
  graph.rejected.add(idOf('alice'));
  assert.ok(!names(graph.resolve(states).values()).includes('note'));
});

test('the orderings look at rejected auth events as usual', () => {
  const graph = roomWith([
    powerLevels('power', ['create', 'creator'], 1, { [CREATOR]: 50, [ALICE]: 100 }),
    note('of-creator', ['create', 'power'], 1),
    { ...note('of-alice', ['create', 'power'], 2), sender: ALICE },
    note('beside', ['create'], 3),
  ]);
  graph.rejected.add(idOf('power'));
  const events = idsOf('of-creator', 'of-alice', 'beside');
  // By the rejected power levels Alice has more power than the creator, who has 100 where there are none.
  assert.deepEqual(names(atOnce(powerSort(graph, events))), ['of-alice', 'beside', 'of-creator']);
  assert.deepEqual(names(atOnce(mainlineSort(graph, events, graph.event(idOf('power'))))), [
    'beside',
    'of-creator',
    'of-alice',
  ]);
});

test('an event that was not loaded is named, not passed over', () => {
  const graph = roomWith([note('a', ['create', 'creator']), note('b', ['create', 'creator'], 1, 'a')]);
  const states = [graph.stateOf(['create', 'a']), graph.stateOf(['create', 'b'])];
  graph.events.delete(idOf('creator'));
  assert.throws(() => graph.resolve(states), /\$creator was not loaded/);
});

for (const version of ['11', '12']) {
  test(`v${version}: an auth chain 100,000 events deep is no depth of calls`, () => {
    const graph = roomWith([powerLevels('p0', ['create', 'creator'])], version);
    for (let depth = 1; depth <= 100_000; depth++) {
      graph.add(powerLevels(`p${depth}`, ['create', 'creator', `p${depth - 1}`], depth));
    }
    const base = ['create', 'creator', 'rules'];
    const resolved = graph.resolve([graph.stateOf([...base, 'p0']), graph.stateOf([...base, 'p100000'])]);
    assert.equal(resolved.get('m.room.power_levels\0'), '$p100000');
  });

  test(`v${version}: 10,000 conflicted events, each in one of two states`, () => {
    const auth = ['create', 'creator', 'power'];
    const graph = roomWith([powerLevels('power', ['create', 'creator'], 1, { [CREATOR]: 100 })], version);
    const sides: string[][] = [[], []];
    for (let index = 0; index < 10_000; index++) {
      const side = index % 2;
      graph.add(note(`n${index}`, auth, index, `key ${Math.floor(index / 2)}`));
      sides[side]?.push(`n${index}`);
    }
    const base = ['create', 'creator', 'rules', 'power'];
    const states = sides.map((side) => graph.stateOf([...base, ...side]));
    const resolved = graph.resolve(states);
    assert.equal(resolved.size, 5_000 + base.length);
    assert.equal(resolved.get('org.example.note\0key 7'), '$n15');
    // Others may have a turn after each few checks, and between the portions of all other work.
    const steps = resolution(graph.rules, conflictsOf(states), graph);
    let pauses = 0;
    while (steps.next().done !== true) pauses += 1;
    assert.ok(pauses > 10_000 / 16 + 5 * (10_000 / 256), `${pauses} pauses`);
  });
}
