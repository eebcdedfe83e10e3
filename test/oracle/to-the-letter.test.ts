/** Where the servers of the network read state resolution otherwise than the letter of its text, and we with them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolve } from '#rooms/state-res/resolve.ts';
import { idsOf, oursOfEvents, rulesFor } from './ours.ts';
import { keyOf, type PlainEvent, type PlainState } from './plain-event.ts';
import { type Draft, START_TS, Workshop } from './room-workshop.ts';

const CREATOR = '@creator:a.example';
const ALICE = '@alice:b.example';

/** A room with two lines: in one, Alice, whose clock is far behind, has made new join rules; in the other nothing is. */
function roomOf(version: number) {
  const shop = new Workshop(version, 'letter');
  const creator = version <= 10 ? { creator: CREATOR } : {};
  let last = shop.create(CREATOR, { room_version: String(version), ...creator });
  const say = (draft: Draft, ts: number): PlainEvent => {
    const state = shop.plain.stateAfter(last.id) ?? new Map();
    last = shop.make(draft, { prevEvents: [last.id], authEvents: shop.authEventsFor(draft, state), ts });
    assert.ok(shop.plain.isAccepted(last.id));
    return last;
  };
  const join = (sender: string): Draft => ({
    sender,
    type: 'm.room.member',
    stateKey: sender,
    content: { membership: 'join' },
  });
  const users = version >= 12 ? { [ALICE]: 100 } : { [CREATOR]: 100, [ALICE]: 100 };
  const rules = (sender: string): Draft => ({
    sender,
    type: 'm.room.join_rules',
    stateKey: '',
    content: { join_rule: 'public' },
  });
  say(join(CREATOR), START_TS + 1_000);
  say({ sender: CREATOR, type: 'm.room.power_levels', stateKey: '', content: { users } }, START_TS + 2_000);
  const older = say(rules(CREATOR), START_TS + 3_000);
  const before = say(join(ALICE), START_TS + 4_000);
  const newer = say(rules(ALICE), START_TS);
  const states = [before, newer].map(({ id }) => shop.plain.stateAfter(id) ?? new Map());
  return { shop, states, older: older.id, newer: newer.id };
}

function joinRules(state: PlainState): string | undefined {
  return state.get(keyOf('m.room.join_rules', ''))?.id;
}

for (const version of [2, 10, 11]) {
  test(`v${version}: an event that all states hold is not in the auth difference, although the chain of one state lacks it`, () => {
    // "Calculating the full auth chain for each state, that is the union of the auth chains for each event": Alice's
    // membership is in the chain of the state that holds her join rules, and to the letter not in that of the other.
    const { shop, states, older, newer } = roomOf(version);
    assert.equal(joinRules(shop.plain.resolveStates(states, true)), newer);
    assert.equal(joinRules(shop.plain.resolveStates(states)), older);
    const resolved = resolve(rulesFor(version), states.map(idsOf), oursOfEvents(version, shop.pdus));
    assert.equal(resolved.get('m.room.join_rules\0'), older);
  });
}

test('v12: by the conflicted state subgraph, such an event counts in either reading', () => {
  const { shop, states, newer } = roomOf(12);
  assert.equal(joinRules(shop.plain.resolveStates(states, true)), newer);
  assert.equal(joinRules(shop.plain.resolveStates(states)), newer);
  const resolved = resolve(rulesFor(12), states.map(idsOf), oursOfEvents(12, shop.pdus));
  assert.equal(resolved.get('m.room.join_rules\0'), newer);
});
