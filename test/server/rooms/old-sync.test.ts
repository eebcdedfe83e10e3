import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const path = (roomId: string, rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;
const saidIn = (events: Body[]) => events.map((event) => event.content.body).filter(Boolean);

test('initialSync: the rooms one is in, invited to and, where asked for, has left; and /events goes on from there', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const here = await alice.createRoom({ name: 'here', visibility: 'public' });
  const invited = await alice.createRoom({ invite: [bob.userId] });
  const left = await alice.createRoom();
  for (const roomId of [here, left]) await bob.join(roomId);
  for (const text of ['one', 'two', 'three']) await alice.send(here, text);
  await bob.post(path(left, 'leave'));
  await alice.send(left, 'later');
  await bob.put(`/user/${bob.userId}/account_data/test.mine`, { n: 1 });
  await bob.put(`/user/${bob.userId}/rooms/${encodeURIComponent(here)}/tags/u.work`, { order: 0.5 });

  const whole = await bob.get('/initialSync?limit=2');
  const rooms = new Map<string, Body>(whole.rooms.map((room: Body) => [room.room_id, room]));
  assert.deepEqual([...rooms.keys()].sort(), [here, invited].sort());
  const room = rooms.get(here);
  assert.deepEqual([room.membership, room.visibility], ['join', 'public']);
  assert.deepEqual(saidIn(room.messages.chunk), ['two', 'three']);
  assert.equal(room.messages.chunk[0].room_id, here);
  assert.ok(room.state.some((event: Body) => event.type === 'm.room.name' && event.room_id === here));
  assert.deepEqual(room.account_data, [{ type: 'm.tag', content: { tags: { 'u.work': { order: 0.5 } } } }]);
  const earlier = await bob.get(path(here, `messages?dir=b&limit=1&from=${room.messages.start}`));
  assert.deepEqual(saidIn(earlier.chunk), ['one']);
  assert.equal(rooms.get(invited).invite.state_key, bob.userId);
  assert.equal(rooms.get(invited).membership, 'invite');
  assert.ok(whole.account_data.some((event: Body) => event.type === 'test.mine'));
  assert.ok(Array.isArray(whole.presence));

  const archived = await bob.get('/initialSync?archived=true');
  const gone = archived.rooms.find((one: Body) => one.room_id === left);
  assert.equal(gone.membership, 'leave');
  assert.deepEqual(saidIn(gone.messages.chunk), []);
  for (const query of ['limit=x', 'limit=-1', 'archived=perhaps'])
    assert.equal((await bob.try('GET', `/initialSync?${query}`)).status, 400, query);

  await alice.send(here, 'four');
  const { chunk, start, end } = await bob.get(`/events?from=${whole.end}&timeout=0`);
  assert.deepEqual(saidIn(chunk), ['four']);
  assert.equal(start, whole.end);
  assert.deepEqual((await bob.get(`/events?from=${end}&timeout=0`)).chunk, []);
});

test('initialSync: invitations of ignored users are not told', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  await alice.createRoom({ invite: [bob.userId] });
  const ignored = { ignored_users: { [alice.userId]: {} } };
  await bob.put(`/user/${bob.userId}/account_data/m.ignored_user_list`, ignored);
  assert.deepEqual((await bob.get('/initialSync')).rooms, []);
});

test('events: a request waits for what comes, and more than a hundred events come in several answers', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const rooms = [await alice.createRoom(), await alice.createRoom()];
  for (const roomId of rooms) await bob.join(roomId);
  const waiting = bob.get('/events?timeout=20000');
  await alice.send(rooms[0] ?? '', 'hello');
  // It may have begun before or after: asked from a token it is told either way.
  await alice.send(rooms[1] ?? '', 'again');
  const first = await waiting;
  assert.ok(first.chunk.length > 0);
  for (let number = 0; number < 60; number++) {
    for (const roomId of rooms) await alice.send(roomId, `${number}`);
  }
  const seen: string[] = [];
  let { end } = first;
  let answers = 0;
  for (;;) {
    const { chunk, end: next } = await bob.get(`/events?timeout=0&from=${end}`);
    if (chunk.length === 0) break;
    assert.ok(chunk.length <= 100);
    seen.push(...saidIn(chunk));
    end = next;
    answers += 1;
  }
  assert.ok(answers > 1);
  const expected = Array.from({ length: 60 }, (_, number) => [`${number}`, `${number}`]).flat();
  assert.deepEqual(seen.slice(-120), expected);
  for (const query of ['timeout=x', 'timeout=-1', 'from=nonsense', 'room_id=nonsense'])
    assert.equal((await bob.try('GET', `/events?${query}`)).status, 400, query);
});

test('events and initialSync of a room: who is not in it may look where everybody may read, and nowhere else', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const history = { type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } };
  const open = await alice.createRoom({ initial_state: [history] });
  const closed = await alice.createRoom();
  await alice.send(open, 'one');
  const info = await bob.get(path(open, 'initialSync'));
  assert.equal(info.membership, undefined);
  assert.deepEqual(saidIn(info.messages.chunk), ['one']);
  assert.ok(info.state.length > 0);
  const waiting = bob.get(
    `/events?room_id=${encodeURIComponent(open)}&from=${info.messages.end}&timeout=20000`,
  );
  await alice.send(closed, 'elsewhere');
  await alice.send(open, 'two');
  assert.deepEqual(saidIn((await waiting).chunk), ['two']);
  const absent = '!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
  for (const rest of ['initialSync', 'events']) {
    const ask = (roomId: string) =>
      bob.try(
        'GET',
        rest === 'events' ? `/events?room_id=${encodeURIComponent(roomId)}` : path(roomId, rest),
      );
    const [stranger, nowhere] = [await ask(closed), await ask(absent)];
    assert.equal(stranger.status, 403);
    assert.deepEqual(stranger.body, nowhere.body);
  }
});

test('events: one by its id alone, for who may see it; all others are not found alike', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const bob = await register(server);
  const roomId = await alice.createRoom();
  const eventId = encodeURIComponent(await alice.send(roomId, 'hello'));
  const event = await alice.get(`/events/${eventId}`);
  assert.deepEqual([event.content.body, event.room_id], ['hello', roomId]);
  const [stranger, nowhere] = [
    await bob.try('GET', `/events/${eventId}`),
    await bob.try('GET', `/events/${encodeURIComponent('$absent')}`),
  ];
  assert.equal(stranger.status, 404);
  assert.deepEqual(stranger.body, nowhere.body);
});
