import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { historyOf } from '#test/harness/sync-view.ts';

const path = (roomId: string, rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;
const ids = (events: Body[]) => events.map((event) => event.event_id);

test('messages: pages in both directions join without gap or overlap', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  for (let number = 0; number < 20; number++) await alice.send(roomId, `${number}`);
  const all = await historyOf(alice, roomId, 3);
  assert.deepEqual(all, await historyOf(alice, roomId, 100));
  assert.equal(new Set(all).size, all.length);

  const forwards: string[] = [];
  let from = '';
  for (;;) {
    const page = await alice.get(path(roomId, `messages?dir=f&limit=4${from}`));
    forwards.push(...ids(page.chunk));
    if (page.end === undefined) break;
    from = `&from=${page.end}`;
  }
  assert.deepEqual(forwards, all);
  const { chunk } = await alice.get(path(roomId, 'messages?dir=b&limit=3'));
  assert.equal(chunk[0].room_id, roomId);
  assert.deepEqual(ids(chunk), all.slice(-3).reverse());
});

test('messages: `to` ends a page, and a filter leaves events out', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const { next_batch: start } = await alice.sync();
  const sent = [await alice.send(roomId, 'one'), await alice.sendEvent(roomId, 'test.noise', {})];
  const bounded = await alice.get(path(roomId, `messages?dir=b&limit=50&to=${start}`));
  assert.deepEqual(ids(bounded.chunk), sent.toReversed());
  assert.equal(bounded.end, undefined);
  const filter = encodeURIComponent(JSON.stringify({ types: ['test.noise'] }));
  const filtered = await alice.get(path(roomId, `messages?dir=b&limit=50&filter=${filter}`));
  assert.deepEqual(ids(filtered.chunk), [sent[1]]);
});

test('messages: `end` is "a token corresponding to the end of chunk" where a filter holds back what is beyond it', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const noise = await alice.sendEvent(roomId, 'test.noise', {});
  const filter = encodeURIComponent(JSON.stringify({ types: ['test.noise'] }));
  const all = await alice.get(path(roomId, 'messages?dir=b&limit=50'));
  assert.equal(all.end, undefined);
  const filtered = await alice.get(path(roomId, `messages?dir=b&limit=50&filter=${filter}`));
  assert.deepEqual(ids(filtered.chunk), [noise]);
  // Another filter, or none, goes on from there.
  const before = await alice.get(path(roomId, `messages?dir=b&limit=50&from=${filtered.end}`));
  assert.deepEqual(ids(before.chunk), ids(all.chunk).slice(1));
  const rest = await alice.get(path(roomId, `messages?dir=b&filter=${filter}&limit=50&from=${filtered.end}`));
  assert.deepEqual([rest.chunk, rest.end], [[], undefined]);
  const forwards = await alice.get(path(roomId, `messages?dir=f&limit=50&filter=${filter}`));
  assert.deepEqual([ids(forwards.chunk), forwards.end], [[noise], undefined], 'nothing is beyond it');
  const after = await bob.send(roomId, 'after');
  const onwards = await alice.get(path(roomId, `messages?dir=f&limit=50&filter=${filter}`));
  const newer = await alice.get(path(roomId, `messages?dir=f&limit=50&from=${onwards.end}`));
  assert.deepEqual(ids(newer.chunk), [after]);
  // What an ignored user says is not to be had by any filter.
  const ignored = { ignored_users: { [bob.userId]: {} } };
  await alice.put(`/user/${encodeURIComponent(alice.userId)}/account_data/m.ignored_user_list`, ignored);
  const quiet = await alice.get(path(roomId, `messages?dir=f&limit=50&filter=${filter}`));
  assert.deepEqual([ids(quiet.chunk), quiet.end], [[noise], undefined]);
});

test('messages: wrong parameters, and rooms of others, are refused', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  for (const query of ['', 'dir=x', 'dir=b&from=nonsense', 'dir=b&limit=-1', 'dir=b&filter=x']) {
    const answer = await alice.try('GET', path(roomId, `messages?${query}`));
    assert.equal(answer.status, 400, query);
  }
  const stranger = await bob.try('GET', path(roomId, 'messages?dir=b'));
  const nowhere = await bob.try(
    'GET',
    path('!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 'messages?dir=b'),
  );
  assert.equal(stranger.status, 403);
  assert.deepEqual(stranger.body, nowhere.body, 'a room that is not there is told from one that is');
});

test('messages: who has left reads what was before, and nothing after', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  await alice.send(roomId, 'before');
  await bob.post(path(roomId, 'leave'));
  await alice.send(roomId, 'after');
  await alice.put(path(roomId, 'state/m.room.name'), { name: 'later' });
  const { chunk } = await bob.get(path(roomId, 'messages?dir=b&limit=50'));
  const said = chunk.map((event: Body) => event.content.body).filter(Boolean);
  assert.deepEqual(said, ['before']);
  assert.equal((await bob.try('GET', path(roomId, 'state/m.room.name'))).status, 404);
  assert.ok((await bob.get(path(roomId, 'state'))).length > 0);
});

test('messages and context: what ignored users say is left out, their state is not', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  await bob.send(roomId, 'noise');
  const middle = await alice.send(roomId, 'hello');
  await bob.send(roomId, 'noise');
  const ignored = { ignored_users: { [bob.userId]: {} } };
  await alice.put(`/user/${encodeURIComponent(alice.userId)}/account_data/m.ignored_user_list`, ignored);
  const { chunk } = await alice.get(path(roomId, 'messages?dir=b&limit=50'));
  assert.deepEqual(chunk.map((event: Body) => event.content.body).filter(Boolean), ['hello']);
  assert.ok(chunk.some((event: Body) => event.state_key === bob.userId));
  const context = await alice.get(path(roomId, `context/${encodeURIComponent(middle)}?limit=50`));
  assert.ok(
    [...context.events_before, ...context.events_after].every((event) => event.content.body !== 'noise'),
  );
});

test('messages: filtered by the relations of the events', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const { next_batch: from } = await alice.sync();
  const root = await alice.send(roomId, 'root');
  const related = async (relType: string) =>
    alice.sendEvent(roomId, 'm.room.message', { 'm.relates_to': { rel_type: relType, event_id: root } });
  const [inThread, reference] = [await related('m.thread'), await related('m.reference')];
  const of = async (filter: object) => {
    const text = encodeURIComponent(JSON.stringify(filter));
    return ids((await alice.get(path(roomId, `messages?dir=f&from=${from}&filter=${text}`))).chunk);
  };
  const [only, not] = ['org.matrix.msc3874.rel_types', 'org.matrix.msc3874.not_rel_types'];
  assert.deepEqual(await of({ [only]: ['m.thread'] }), [inThread]);
  assert.deepEqual(await of({ [only]: ['m.thread', 'm.reference'] }), [inThread, reference]);
  assert.deepEqual(await of({ [not]: ['m.thread'] }), [root, reference]);
  assert.deepEqual(await of({ [not]: ['m.thread', 'm.reference'] }), [root]);
  assert.deepEqual(await of({ [only]: ['m.thread'], [not]: ['m.thread'] }), []);
});

test('redactions are sent as other events are, in every room version; one that redacts nothing is refused', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  for (const version of ['1', '6', '10', '11', '12']) {
    const roomId = await alice.createRoom({ room_version: version });
    await bob.join(roomId);
    const eventId = await alice.send(roomId, 'regretted');
    const send = (who: typeof alice, txn: string, content: object) =>
      who.try('PUT', path(roomId, `send/m.room.redaction/${txn}`), content);
    assert.equal((await send(bob, 'a', { redacts: eventId })).status, 403, version);
    for (const content of [{}, { redacts: 5 }, { redacts: 'nonsense' }]) {
      const { status, body } = await send(alice, 'b', content);
      assert.deepEqual([status, body.errcode], [400, 'M_BAD_JSON'], version);
    }
    const { body } = await send(alice, 'c', { redacts: eventId, reason: 'typo' });
    const redaction = await alice.get(path(roomId, `event/${encodeURIComponent(body.event_id)}`));
    assert.deepEqual([redaction.redacts, redaction.content.reason], [eventId, 'typo']);
    const event = await alice.get(path(roomId, `event/${encodeURIComponent(eventId)}`));
    assert.deepEqual([event.content, event.unsigned.redacted_because.event_id], [{}, body.event_id]);
    // As other servers get it.
    const text = 'SELECT json FROM events WHERE event_id = ?';
    const row = await server.ctx.db.get<[string], { json: string }>({ name: '', text }, body.event_id);
    const { content, redacts } = JSON.parse(row?.json ?? '{}');
    const isInContent = Number(version) >= 11;
    assert.deepEqual([content.redacts, redacts], isInContent ? [eventId, undefined] : [undefined, eventId]);
  }
});

test('event: seen by members, and not found by others', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const [roomId, other] = [await alice.createRoom(), await alice.createRoom()];
  const eventId = await alice.send(roomId, 'hello');
  const event = await alice.get(path(roomId, `event/${encodeURIComponent(eventId)}`));
  assert.equal(event.content.body, 'hello');
  assert.equal(event.room_id, roomId);
  assert.equal(event.unsigned.membership, 'join');
  for (const [client, room] of [
    [bob, roomId],
    [alice, other],
  ] as const) {
    const answer = await client.try('GET', path(room, `event/${encodeURIComponent(eventId)}`));
    assert.equal(answer.status, 404);
    assert.equal(answer.body.errcode, 'M_NOT_FOUND');
  }
});

test('context: the events around one, tokens that lead on from there, and the state', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const roomId = await alice.createRoom({ name: 'Room' });
  const sent: string[] = [];
  for (let number = 0; number < 9; number++) sent.push(await alice.send(roomId, `${number}`));
  const middle = sent[4] ?? '';
  const around = await alice.get(path(roomId, `context/${encodeURIComponent(middle)}?limit=4`));
  assert.equal(around.event.event_id, middle);
  assert.deepEqual(ids(around.events_before), [sent[3], sent[2]]);
  assert.deepEqual(ids(around.events_after), [sent[5], sent[6]]);
  assert.ok(around.state.some((event: Body) => event.type === 'm.room.name'));
  const back = await alice.get(path(roomId, `messages?dir=b&limit=2&from=${around.start}`));
  assert.deepEqual(ids(back.chunk), [sent[1], sent[0]]);
  const on = await alice.get(path(roomId, `messages?dir=f&limit=2&from=${around.end}`));
  assert.deepEqual(ids(on.chunk), [sent[7], sent[8]]);
});

test('row 22: redaction: what it redacts is empty everywhere, with the redaction beside it', async () => {
  for (const version of ['10', '12']) {
    await using server = await startServer();
    const alice = await register(server);
    const bob = await register(server);
    const roomId = await alice.createRoom({ room_version: version });
    await bob.join(roomId);
    const eventId = await alice.send(roomId, 'regretted');
    const before = await bob.sync();
    assert.equal(before.rooms.join[roomId].timeline.events.at(-1).content.body, 'regretted');
    await alice.put(path(roomId, `redact/${encodeURIComponent(eventId)}/r1`), { reason: 'typo' });

    const { events } = (await bob.sync({ since: before.next_batch })).rooms.join[roomId].timeline;
    const redaction = events.at(-1);
    assert.equal(redaction.redacts, eventId, `version ${version}, top level`);
    assert.equal(redaction.content.redacts, eventId, `version ${version}, content`);
    const told = (await bob.sync()).rooms.join[roomId].timeline.events;
    const seen = [
      told.find((event: Body) => event.event_id === eventId),
      await bob.get(path(roomId, `event/${encodeURIComponent(eventId)}`)),
    ];
    for (const event of seen) {
      assert.deepEqual(event.content, {});
      assert.equal(event.unsigned.redacted_because.content.reason, 'typo');
    }
  }
});
