/** MSC4186: connections, positions, and requests that are wrong. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, login, register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { type Asked, FACES, type FaceName, PATHS, SlidingClient } from './face.ts';

const ALL: Asked = { lists: { all: { limit: 1 } } };

for (const face of FACES) {
  test(`${face}: a pos that was not given to this device and connection is M_UNKNOWN_POS`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    await alice.createRoom();
    const sliding = new SlidingClient(alice, face, 'one');
    await sliding.next(ALL);
    const unknown = async (client: SlidingClient, pos = sliding.pos) => {
      const { status, body } = await client.try(ALL, pos);
      assert.deepEqual([status, body.errcode], [400, 'M_UNKNOWN_POS'], JSON.stringify(body));
    };
    await unknown(new SlidingClient(alice, face, 'another'));
    await unknown(new SlidingClient(await register(server), face, 'one'));
    await unknown(new SlidingClient(await login(server, alice.userId, alice.password), face, 'one'));
    await unknown(new SlidingClient(alice, face === 'stable' ? 'experimental' : 'stable', 'one'));
    for (const pos of ['s1_5', 'nonsense', '0', `${sliding.pos}0`]) await unknown(sliding, pos);
    // None of that has disturbed the connection.
    assert.deepEqual((await sliding.next(ALL)).rooms, {});
  });

  test(`${face}: a connection that begins anew forgets the one before, and no other`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    const roomId = await alice.createRoom();
    const one = new SlidingClient(alice, face, 'one');
    const two = new SlidingClient(alice, face, 'two');
    await one.next(ALL);
    await two.next(ALL);
    const before = one.pos;
    one.pos = undefined;
    assert.equal((await one.next(ALL)).rooms[roomId].initial, true);
    assert.equal((await one.try(ALL, before)).body.errcode, 'M_UNKNOWN_POS');
    assert.deepEqual((await two.next(ALL)).rooms, {});
  });

  test(`${face}: a device has ten connections; the one used least recently is given up`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    const clients = Array.from({ length: 11 }, (_, number) => new SlidingClient(alice, face, `c${number}`));
    for (const client of clients) await client.next({});
    const answers = await Promise.all(clients.map((client) => client.try({})));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [400, ...Array.from({ length: 10 }, () => 200)],
    );
  });

  test(`${face}: after a restart a connection goes on where it was`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    const roomId = await alice.createRoom();
    const sliding = new SlidingClient(alice, face);
    await sliding.next(ALL);
    await server.restart();
    await alice.send(roomId, 'while it was away');
    const answer = await sliding.next(ALL);
    assert.equal(answer.rooms[roomId].initial, undefined);
    assert.equal(answer.rooms[roomId].timeline.length, 1);
    await server.restart();
    assert.deepEqual((await sliding.next(ALL)).rooms, {});
  });

  test(`${face}: a request with the same pos is answered again; what was lost is not lost`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    const roomId = await alice.createRoom();
    const sliding = new SlidingClient(alice, face);
    await sliding.next(ALL);
    await alice.send(roomId, 'hello');
    const lost = await sliding.ask(ALL);
    const again = await sliding.next(ALL);
    const idsOf = (answer: Body) => answer.rooms[roomId].timeline.map((event: Body) => event.event_id);
    assert.deepEqual(idsOf(again), idsOf(lost));
    assert.deepEqual((await sliding.next(ALL)).rooms, {});
  });

  test(`${face}: a request waits for something to happen in its rooms, and an answer ends it`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    const roomId = await alice.createRoom();
    const sliding = new SlidingClient(alice, face);
    await sliding.next(ALL);
    const waiting = sliding.next({ ...ALL, timeout: 20_000 });
    await alice.send(roomId, 'hello');
    assert.equal((await waiting).rooms[roomId].timeline.length, 1);
    // Another request than the last is answered by what is new to it, without waiting.
    const wider = await sliding.next({ lists: { all: { limit: 5 } }, timeout: 20_000 });
    assert.equal(wider.rooms[roomId].timeline.length, 5);
  });

  test(`${face}: a pos is a token of /messages, too`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    const roomId = await alice.createRoom();
    const sliding = new SlidingClient(alice, face);
    await sliding.next(ALL);
    await alice.send(roomId, 'later');
    const path = `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=1&from=${sliding.pos}`;
    assert.notEqual((await alice.get(path)).chunk[0].type, 'm.room.message');
    assert.equal((await alice.try('GET', `/sync?since=${sliding.pos}`)).status, 400);
  });

  test(`${face}: what is wrong in a request is told, and nothing is lost by it`, async () => {
    await using server = await startServer();
    const alice = await register(server);
    const sliding = new SlidingClient(alice, face);
    await sliding.next(ALL);
    for (const [body, errcode] of wrongBodies(face)) {
      const answer = await alice.try('POST', PATHS[face], body);
      assert.deepEqual(
        [answer.status, answer.body.errcode],
        [400, errcode],
        JSON.stringify(body).slice(0, 200),
      );
    }
    assert.deepEqual((await sliding.next(ALL)).rooms, {});
    assert.equal((await alice.try('POST', PATHS[face])).status, 200, 'no body is an empty one');
  });
}

function wrongBodies(face: FaceName): [body: unknown, errcode: string][] {
  const state = face === 'stable' ? {} : [];
  const list = { timeline_limit: 1, required_state: state };
  const many = (count: number, key: (number: number) => string, value: unknown) =>
    Object.fromEntries(Array.from({ length: count }, (_, number) => [key(number), value]));
  const ofList = (wrong: object) => ({ lists: { all: { ...list, ...wrong } } });
  const filtered = (filters: unknown) => ofList({ filters });
  const [bad, invalid] = ['M_BAD_JSON', 'M_INVALID_PARAM'];
  const common: [unknown, string][] = [
    [[], bad],
    ['{', 'M_NOT_JSON'],
    [{ conn_id: 5 }, bad],
    [{ conn_id: 'x'.repeat(256) }, invalid],
    [{ pos: 5 }, bad],
    [{ timeout: 'soon' }, bad],
    [{ timeout: -1 }, invalid],
    [{ set_presence: 'asleep' }, invalid],
    [{ lists: [] }, bad],
    [{ lists: { all: 5 } }, invalid],
    [{ lists: many(101, (number) => `l${number}`, list) }, invalid],
    [{ lists: { ['x'.repeat(256)]: list } }, invalid],
    [{ room_subscriptions: many(101, (number) => `!${number}:a.b`, list) }, invalid],
    [{ room_subscriptions: { '!a:b': [] } }, invalid],
    [ofList({ timeline_limit: '1' }), bad],
    [ofList({ timeline_limit: -1 }), invalid],
    [ofList({ required_state: 'all' }), invalid],
    [filtered([]), bad],
    [filtered({ is_dm: 'yes' }), bad],
    [filtered({ spaces: '!a:b' }), invalid],
    [filtered({ room_types: [5] }), invalid],
    [filtered({ tags: {} }), invalid],
    [filtered({ tags: Array.from({ length: 201 }, () => 'x') }), invalid],
    [{ extensions: [] }, bad],
    [{ extensions: { to_device: true } }, bad],
    [{ extensions: { to_device: { enabled: 'yes' } } }, bad],
    [{ extensions: { to_device: { enabled: true, since: 'nonsense' } } }, invalid],
    [{ extensions: { to_device: { enabled: true, limit: 0 } } }, invalid],
    [{ extensions: { receipts: { enabled: true, lists: 'all' } } }, invalid],
    [{ extensions: { 'io.element.msc4308.thread_subscriptions': { enabled: true, limit: -1 } } }, invalid],
  ];
  if (face === 'experimental') {
    return [
      ...common,
      [ofList({ ranges: [0, 1] }), invalid],
      [ofList({ ranges: [[1, 0]] }), invalid],
      [ofList({ ranges: [[0, -1]] }), invalid],
      [ofList({ ranges: Array.from({ length: 21 }, () => [0, 1]) }), invalid],
      [ofList({ required_state: [['m.room.name']] }), invalid],
      [ofList({ required_state: Array.from({ length: 201 }, () => ['a', 'b']) }), invalid],
    ];
  }
  return [
    ...common,
    [{ lists: { 'no/opaque identifier': list } }, invalid],
    [{ lists: { all: { required_state: {} } } }, 'M_MISSING_PARAM'],
    [{ lists: { all: { timeline_limit: 1 } } }, 'M_MISSING_PARAM'],
    [ofList({ range: [0] }), invalid],
    [ofList({ range: [0, 1.5] }), invalid],
    [ofList({ range: [3, 2] }), invalid],
    [ofList({ required_state: { include: {} } }), invalid],
    [ofList({ required_state: { include: [{ type: 5 }] } }), bad],
    [ofList({ required_state: { lazy_members: 'yes' } }), bad],
  ];
}
