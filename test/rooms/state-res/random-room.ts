/** Random rooms whose servers do not hear of each other for a while, for the property tests. */

import * as fc from 'fast-check';
import type { EventId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { stateMapKey } from '#rooms/event.ts';
import { CREATOR, type Draft, EventGraph, type GraphEvent } from './event-graph.ts';

const KINDS = [
  'join',
  'leave',
  'ban',
  'invite',
  'kick',
  'power',
  'joinRules',
  'topic',
  'name',
  'merge',
  'fork',
] as const;
const USERS: readonly UserId[] = [
  CREATOR,
  '@alice:a.example',
  '@bob:b.example',
  '@carol:c.example',
  '@dave:d.example',
];

interface Move {
  readonly kind: (typeof KINDS)[number];
  readonly branch: number;
  readonly actor: number;
  readonly target: number;
  readonly level: number;
  readonly skew: number;
}

export interface RandomRoom {
  readonly graph: EventGraph;
  readonly made: readonly GraphEvent[];
  readonly states: readonly ReadonlyMap<string, EventId>[];
}

const move: fc.Arbitrary<Move> = fc.record({
  kind: fc.constantFrom(...KINDS),
  branch: fc.nat(3),
  actor: fc.nat(USERS.length - 1),
  target: fc.nat(USERS.length - 1),
  level: fc.constantFrom(0, 25, 50, 75, 100),
  skew: fc.integer({ min: -30, max: 30 }),
});

/** A room after some moves on up to four branches of its graph, and the state at the end of each branch. */
export function randomRoom(version: string, maxLength = 60): fc.Arbitrary<RandomRoom> {
  return fc.array(move, { minLength: 10, maxLength, size: 'max' }).map((moves) => play(version, moves));
}

function play(version: string, moves: readonly Move[]): RandomRoom {
  const graph = new EventGraph(version);
  const made: GraphEvent[] = [];
  const depths: number[] = [0];
  const states: Map<string, EventId>[] = [new Map()];
  const send = (branch: number, draft: Draft, skew: number): void => {
    const state = states[branch % states.length] ?? new Map<string, EventId>();
    // Ids in an order of their own, so that ties are broken otherwise than by age.
    const id = made.length === 0 ? 'create' : `e${(made.length * 37) % 101}-${made.length}`;
    const at = branch % states.length;
    const depth = (depths[at] ?? 0) + 1;
    const event = { ...draft, id, auth: graph.authFor(draft, state), ts: made.length + skew, depth };
    const added = graph.add(event);
    if (graph.refusal(added, state) !== undefined) {
      graph.events.delete(added.eventId);
      return;
    }
    made.push(event);
    depths[at] = depth;
    state.set(stateMapKey(draft.type, draft.state_key), added.eventId);
  };
  for (const draft of opening()) send(0, draft, 0);
  for (const { kind, branch, actor, target, level, skew } of moves) {
    const at = branch % states.length;
    if (kind === 'fork') {
      if (states.length >= 4) continue;
      states.push(new Map(states[at]));
      depths.push(depths[at] ?? 0);
    } else if (kind === 'merge') {
      const other = target % states.length;
      const merged = graph.resolve([states[at] ?? new Map(), states[other] ?? new Map()]);
      states[at] = new Map(merged);
      depths[at] = Math.max(depths[at] ?? 0, depths[other] ?? 0);
    } else send(at, draftOf(kind, { actor, target, level }), skew);
  }
  return { graph, made, states };
}

function opening(): Draft[] {
  return [
    { type: 'm.room.create', state_key: '', sender: CREATOR, content: {} },
    { type: 'm.room.member', state_key: CREATOR, sender: CREATOR, content: { membership: 'join' } },
    power(CREATOR, { [CREATOR]: 100, '@alice:a.example': 100, '@bob:b.example': 50 }),
    { type: 'm.room.join_rules', state_key: '', sender: CREATOR, content: { join_rule: 'public' } },
    {
      type: 'm.room.member',
      state_key: '@alice:a.example',
      sender: '@alice:a.example',
      content: { membership: 'join' },
    },
    {
      type: 'm.room.member',
      state_key: '@bob:b.example',
      sender: '@bob:b.example',
      content: { membership: 'join' },
    },
  ];
}

function power(sender: UserId, users: JsonObject): Draft {
  return { type: 'm.room.power_levels', state_key: '', sender, content: { users } };
}

function draftOf(
  kind: Exclude<Move['kind'], 'fork' | 'merge'>,
  { actor, target, level }: Pick<Move, 'actor' | 'target' | 'level'>,
): Draft {
  const sender = USERS[actor] ?? CREATOR;
  const other = USERS[target] ?? CREATOR;
  const member = (state_key: UserId, membership: string) => ({
    type: 'm.room.member',
    state_key,
    sender,
    content: { membership },
  });
  switch (kind) {
    case 'join':
    case 'leave':
      return member(sender, kind);
    case 'ban':
    case 'invite':
      return member(other, kind);
    case 'kick':
      return member(other, 'leave');
    case 'power':
      return power(sender, { [CREATOR]: 100, '@alice:a.example': 100, '@bob:b.example': 50, [other]: level });
    case 'joinRules':
      return {
        type: 'm.room.join_rules',
        state_key: '',
        sender,
        content: { join_rule: level > 50 ? 'public' : 'invite' },
      };
    case 'topic':
    case 'name':
      return { type: `m.room.${kind}`, state_key: '', sender, content: { [kind]: `${kind} ${level}` } };
  }
}
