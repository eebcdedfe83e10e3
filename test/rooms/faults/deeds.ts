/** What writes into rooms, one of each kind: `prepare` makes the room, `act` is what a process may die in. */

import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { adoptInvite } from '#rooms/out-of-band.ts';
import { receiveRun } from '#rooms/receive-run.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { type Draft, sendEvent } from '#rooms/send.ts';
import { adoptRoom } from '#rooms/told/adopt.ts';
import { adoptionOf } from '#test/harness/adoption.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import { importRoom, receiveFrom, sentOrThrow, state, verified } from '#test/harness/rooms.ts';

export interface Deed {
  readonly prepare: (ctx: RoomsContext) => Promise<unknown>;
  readonly act: (ctx: RoomsContext) => Promise<unknown>;
}

const alice = '@alice:here.test';
const carol = '@carol:here.test';
const eve = '@eve:elsewhere.test';
const mallory = '@mallory:evil.test';

/** The same room each time: its events are made from nothing but these names. */
const roomWith = (version = '12') => roomOf(alice, { version, members: [eve, mallory] });

async function imported(ctx: RoomsContext, built: TestRoom): Promise<Room> {
  const known = await getRoom(ctx, built.roomId);
  return known ?? (await importRoom(ctx, built));
}

function sending(draft: (built: TestRoom) => Omit<Draft, 'roomId'>): Deed {
  const built = roomWith();
  built.state(alice, 'm.room.join_rules', '', { join_rule: 'public' });
  const root = built.message(alice, 'the root of a thread').eventId;
  const content = { body: 'to be redacted', 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
  const target = built.send(alice, { type: 'm.room.message', content });
  return {
    prepare: (ctx) => imported(ctx, built),
    act: async (ctx) => {
      const { redacts, ...rest } = draft(built);
      const redacted = redacts === undefined ? {} : { redacts: target.eventId };
      return sentOrThrow(await sendEvent(ctx, { ...rest, ...redacted, roomId: built.roomId }));
    },
  };
}

/** Receives events one by one; the last of them is the deed. */
function receiving(make: (built: TestRoom) => readonly Event[], version?: string): Deed {
  const built = roomWith(version);
  const base = new Set(built.events.keys());
  const events = make(built);
  const basis = [...built.events.values()].filter(({ eventId }) => base.has(eventId));
  const receive = async (ctx: RoomsContext, some: readonly Event[]) => {
    const room = await imported(ctx, built);
    for (const event of some) await receiveFrom(ctx, room, event, { as: 'live' });
  };
  return {
    prepare: async (ctx) => {
      const early = Object.assign(built.fork(), {
        events: new Map(basis.map((event) => [event.eventId, event])),
      });
      await importRoom(ctx, early);
      await receive(ctx, events.slice(0, -1));
    },
    act: (ctx) => receive(ctx, events.slice(-1)),
  };
}

/** Receives several events in one write. */
function aRun(): Deed {
  const built = roomWith();
  const basis = built.fork();
  basis.heads = built.heads;
  const early = Object.assign(basis, { events: new Map(built.events) });
  const events = [
    built.message(eve, 'one'),
    built.state(alice, 'm.room.name', '', { name: 'A name' }),
    built.member(mallory, mallory, 'leave'),
    built.message(eve, 'two'),
  ];
  return {
    prepare: (ctx) => importRoom(ctx, early),
    act: async (ctx) => {
      const room = await imported(ctx, early);
      return receiveRun(ctx, room, await Promise.all(events.map((event) => verified(ctx, event))));
    },
  };
}

const transaction = { deviceId: 'DEVICE', txnId: 'one' };

export const DEEDS: Readonly<Record<string, Deed>> = {
  'a local message': sending(() => ({
    sender: alice,
    type: 'm.room.message',
    content: { msgtype: 'm.text', body: 'hello' },
    txn: transaction,
  })),
  'a local event of a thread': sending((built) => ({
    sender: alice,
    type: 'm.room.message',
    content: { 'm.relates_to': { rel_type: 'm.thread', event_id: built.create.eventId } },
  })),
  'a local state event': sending(() => state(alice, 'm.room.name', '', { name: 'A name' })),
  'a local join': sending(() => state(carol, 'm.room.member', carol, { membership: 'join' })),
  'a local redaction': sending((built) => ({
    sender: alice,
    type: 'm.room.redaction',
    content: {},
    redacts: built.last.eventId,
  })),
  'a received event upon a fork, with state resolution': receiving((built) => {
    const [left, right] = [built.fork(), built.fork()];
    const content = { users: { [eve]: 50 } };
    return [left.ban(alice, mallory), right.state(alice, 'm.room.power_levels', '', content)];
  }),
  'a received event that heals a fork': receiving((built) => {
    const [left, right] = [built.fork(), built.fork()];
    const name = left.state(alice, 'm.room.name', '', { name: 'left' });
    const topic = right.state(alice, 'm.room.topic', '', { topic: 'right' });
    return [name, topic, left.merge([right], [topic]).message(eve, 'both')];
  }),
  'a received event that is rejected': receiving((built) => [
    built.fork().state(mallory, 'm.room.name', '', { name: 'mine' }),
  ]),
  'a received event that is soft-failed': receiving((built) => {
    const late = built.fork();
    return [built.ban(alice, mallory), late.message(mallory, 'late')];
  }),
  'a run of received events': aRun(),
  'a room that is joined elsewhere': {
    prepare: async () => undefined,
    act: async (ctx) => {
      const built = roomOf(eve, { members: [mallory], join_rule: 'public' });
      return adoptRoom(ctx, await adoptionOf(ctx, built, alice));
    },
  },
  'an invitation to a room elsewhere': {
    prepare: async () => undefined,
    act: async (ctx) => {
      const built = roomOf(eve, { members: [mallory] });
      const invite = await verified(ctx, built.invite(eve, alice));
      const name = { type: 'm.room.name', state_key: '', sender: eve, content: { name: 'far away' } };
      return adoptInvite(ctx, { rules: built.rules, invite, strippedState: [name] });
    },
  },
};
