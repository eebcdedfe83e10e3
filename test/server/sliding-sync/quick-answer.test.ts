/** Answers that are put together from memory are those that are made by asking the database. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { DEEDS, withoutAge, worldOn } from '#test/server/sync/quick-deeds.ts';
import { type Asked, FACES, SlidingClient } from './face.ts';

const OF_ROOMS = { account_data: { enabled: true }, receipts: { enabled: true }, typing: { enabled: true } };
const OF_DEVICE = { to_device: { enabled: true }, e2ee: { enabled: true } };
/** There are none: but whoever asks for them is answered by asking the database. */
const STICKY = { 'org.matrix.msc4354.sticky_events': { enabled: true } };
const STATE = [
  ['m.room.topic', ''],
  ['m.room.member', '$ME'],
] as const;
const OTHER = ['m.space'];

const REQUESTS: Readonly<Record<string, Asked>> = {
  'all rooms, members where they are needed': {
    lists: { all: { limit: 20, lazy: true, state: STATE } },
    extensions: { ...OF_ROOMS, ...OF_DEVICE },
  },
  'the newest event': { lists: { all: { limit: 1, range: [0, 19] } }, extensions: OF_ROOMS },
  'the room on top, and the next': {
    lists: { top: { limit: 5, range: [0, 0] }, next: { limit: 5, range: [1, 1] } },
    extensions: { receipts: { enabled: true, lists: ['top'] } },
  },
  'rooms that pass filters': {
    lists: {
      rooms: { limit: 5, filters: { not_room_types: OTHER } },
      people: { limit: 5, filters: { is_dm: true } },
      tagged: { limit: 5, filters: { tags: ['m.favourite'] } },
    },
  },
};

for (const face of FACES) {
  for (const [what, asked] of Object.entries(REQUESTS)) {
    test(`${face}: an answer from memory is the one made by asking the database: ${what}`, async () => {
      await using server = await startServer({ presence: 'off' });
      const world = await worldOn(server);
      const quick = new SlidingClient(world.alice, face, 'quick');
      const slow = new SlidingClient(world.alice, face, 'slow');
      const withSticky = { ...asked, extensions: { ...asked.extensions, ...STICKY } };
      for (const [name, deed] of Object.entries(DEEDS)) {
        const [quickly, slowly] = [await settled(quick, asked), await settled(slow, withSticky)];
        const waiting = quick.ask({ ...quickly, timeout: 10_000 });
        await deed(world);
        await waiting;
        const expected = comparable(await slow.ask(slowly));
        for (let time = 0; time < 2; time++)
          assert.deepEqual(comparable(await quick.ask(quickly)), expected, name);
      }
    });
  }

  test(`${face}: what is told from memory is followed by what is new, and a longer timeline is told at once`, async () => {
    await using server = await startServer({ presence: 'off' });
    const { alice, bob, roomId, otherId } = await worldOn(server);
    const client = new SlidingClient(alice, face);
    const asked = { lists: { all: { limit: 1 } } };
    await client.next(asked);
    await client.next(asked);
    for (const number of [1, 2, 3]) {
      const waiting = client.next({ ...asked, timeout: 10_000 });
      await bob.send(roomId, `number ${number}`);
      const { rooms } = await waiting;
      assert.deepEqual(Object.keys(rooms), [roomId]);
      assert.deepEqual(bodiesIn(rooms[roomId]), [`number ${number}`]);
      assert.equal(rooms[roomId].num_live, 1);
    }
    const longer = await client.next({ lists: { all: { limit: 3 } }, timeout: 10_000 });
    assert.deepEqual(bodiesIn(longer.rooms[roomId]), ['number 1', 'number 2', 'number 3']);
    assert.ok(otherId in longer.rooms);
  });

  test(`${face}: of whom the user ignores nothing is told from memory`, async () => {
    await using server = await startServer({ presence: 'off' });
    const [alice, bob] = [await register(server), await register(server)];
    const roomId = await alice.createRoom();
    await bob.join(roomId);
    const client = new SlidingClient(alice, face);
    const asked = { lists: { all: { limit: 5 } } };
    await client.next(asked);
    await alice.put(`/user/${encodeURIComponent(alice.userId)}/account_data/m.ignored_user_list`, {
      ignored_users: { [bob.userId]: {} },
    });
    await client.next(asked);
    await bob.send(roomId, 'unheard');
    for (let time = 0; time < 2; time++)
      assert.deepEqual(bodiesIn((await client.ask(asked)).rooms[roomId] ?? { timeline: [] }), []);
  });
}

/** Until there is nothing to tell; answers what to ask for next. */
async function settled(client: SlidingClient, asked: Asked): Promise<Asked> {
  let going = asked;
  for (let turn = 0; turn < 2; turn++) {
    const { extensions } = await client.next(going);
    const since = extensions.to_device?.next_batch;
    const toDevice = { to_device: { enabled: true, since } };
    going = { ...asked, extensions: { ...asked.extensions, ...(since !== undefined && toDevice) } };
  }
  return going;
}

function comparable({ pos: _, ...answer }: Body): Body {
  return withoutAge(answer);
}

function bodiesIn(room: Body): string[] {
  return room.timeline.map(({ content }: Body) => content.body);
}
