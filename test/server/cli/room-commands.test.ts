/** The operator's commands for rooms, as processes, beside a server that runs or does not. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register } from '#test/harness/client.ts';
import { inRoom, messagesOf, untilMember } from '#test/harness/conversation.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { type Ended, run, serverEnvironment, startProcess } from '#test/harness/process.ts';

async function kurir(dataDir: string, ...words: string[]): Promise<Ended> {
  return await run('server/kurir.ts', words, { env: serverEnvironment(dataDir) });
}

test('room list and room purge, while the server runs and while it does not', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open' };
  await using first = await startProcess(env);
  const alice = await register(first, 'alice');
  const bob = await register(first, 'bob');
  const roomId = await alice.createRoom({ name: 'Lunch \u001b[31m', room_alias_name: 'lunch' });
  await bob.join(roomId);
  const quiet = await alice.createRoom({ room_version: '11', visibility: 'public' });
  const sent: string[] = [];
  for (let count = 0; count < 6; count++) sent.push(await alice.send(roomId, `${count}`));
  const list = await kurir(folder.path, 'room', 'list');
  assert.equal(list.code, 0, list.err);
  assert.deepEqual(list.out.trimEnd().split('\n'), [
    `${roomId}  version 12  2 of 2 members  "Lunch \\u001b[31m"`,
    `${quiet}  version 11  1 of 1 members  published`,
  ]);
  const purged = await kurir(folder.path, 'room', 'purge', '#lunch:localhost', '--before', sent[2] ?? '');
  assert.equal(purged.code, 0, purged.err);
  assert.match(purged.out, /^Deleted 2 messages, and took \d+ state events out of the timeline\.\n$/);
  assert.deepEqual(await messagesOf(alice, roomId), ['2', '3', '4', '5']);
  assert.equal((await alice.try('GET', `${inRoom(roomId)}/event/${sent[0]}`)).status, 404);
  const { rooms } = await alice.sync();
  assert.equal(rooms.join[roomId].timeline.events[0].content.body, '2', 'nor does a sync show it');
  assert.equal(
    rooms.join[roomId].state.events.some((event: Body) => event.type === 'm.room.create'),
    true,
  );
  await first.stop();

  const stopped = await kurir(folder.path, 'room', 'purge', roomId, '--before', sent[4] ?? '');
  assert.match(stopped.out, /^Deleted 2 messages, and took 0 state events out of the timeline\.\n$/);
  assert.equal((await kurir(folder.path, 'room', 'list')).out, list.out);
  const refused = await kurir(folder.path, 'room', 'shutdown', roomId);
  assert.match(refused.err, /users can leave a room only while the server runs: start it/);
  await using second = await startProcess(env);
  const again = await second.clientUrl;
  assert.ok(again);
  assert.equal((await kurir(folder.path, 'db', 'check')).code, 0);
});

test('what cannot be done to a room is said in one line', async () => {
  await using folder = await temporaryFolder();
  await using server = await startProcess({ ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open' });
  const alice = await register(server, 'alice');
  const roomId = await alice.createRoom();
  const cases: [words: string[], code: number, says: RegExp][] = [
    [['room', 'purge', roomId], 2, /--before is missing: see --help/],
    [['room', 'purge', '--before', '2026-01-01'], 2, /the room is missing: see --help/],
    [['room', 'purge', roomId, '--before', 'yesterday'], 1, /is neither a day \(2026-01-31\), nor a time/],
    [['room', 'purge', roomId, '--before', '2026-13-77'], 1, /is neither a day/],
    [['room', 'purge', roomId, '--before', '$unknown'], 1, /\$unknown is not in the timeline/],
    [['room', 'purge', '!no:localhost', '--before', '2026-01-01'], 1, /does not know the room !no:localhost/],
    [['room', 'purge', 'lunch', '--before', '2026-01-01'], 1, /"lunch" is neither a room id/],
    [['room', 'shutdown', '#no:localhost'], 1, /"#no:localhost" is neither a room id/],
    [['room', 'unblock', roomId], 1, /is not blocked: see "room list"/],
  ];
  for (const [words, code, says] of cases) {
    const ended = await kurir(folder.path, ...words);
    assert.equal(ended.code, code, words.join(' '));
    assert.match(ended.err, says);
    assert.equal(ended.err.split('\n').length, 2);
  }
  for (const command of ['list', 'purge', 'shutdown', 'unblock']) {
    const help = await kurir(folder.path, 'room', command, '--help');
    assert.ok(help.out.startsWith(`Usage: npm run kurir -- room ${command}`), help.out);
  }
  const nothing = await kurir(folder.path, 'room', 'purge', roomId, '--before', '2020-01-01');
  assert.match(nothing.out, /^Deleted 0 messages, and took 0 state events/);
});

test('room shutdown: ours leave, others stay among themselves, and nobody of ours comes back until it is unblocked', async () => {
  await using fleet = await startFleet(2);
  const ours = fleet.at(0);
  const alice = await register(ours);
  const bob = await register(ours);
  const carol = await register(ours);
  const guest = await register(fleet.at(1));
  const roomId = await alice.createRoom({ room_alias_name: 'closing', visibility: 'public' });
  await bob.join(roomId);
  await alice.post(`${inRoom(roomId)}/invite`, { user_id: carol.userId });
  await guest.join(roomId, [ours.serverName]);
  const haven = await alice.createRoom({ preset: 'private_chat' });
  const dataDir = ours.ctx.config.dataDir;
  const done = await kurir(dataDir, 'room', 'shutdown', roomId, '--move-to', haven);
  assert.equal(done.code, 0, done.err);
  assert.equal(
    done.out,
    `${roomId} is blocked: 3 users left it, and 1 aliases are gone.\n2 users were brought to the other room.\n`,
  );
  for (const user of [alice, bob, carol]) await untilMember(guest, roomId, user.userId, 'leave');
  assert.deepEqual((await bob.get('/joined_rooms')).joined_rooms, [haven]);
  assert.equal(
    (await alice.try('GET', `/directory/room/${encodeURIComponent(`#closing:${ours.serverName}`)}`)).status,
    404,
  );
  assert.deepEqual((await alice.get('/publicRooms')).chunk, []);
  assert.match((await kurir(dataDir, 'room', 'list')).out, /0 of 1 members {2}blocked/);

  const join = () => bob.try('POST', `/join/${encodeURIComponent(roomId)}?via=${fleet.at(1).serverName}`, {});
  assert.deepEqual([(await join()).status, (await join()).body.errcode], [403, 'M_FORBIDDEN']);
  const levels = await guest.try('POST', `${inRoom(roomId)}/invite`, { user_id: bob.userId });
  assert.equal(levels.status, 403, 'an invitation by another server is refused');
  assert.equal((await bob.sync()).rooms?.invite?.[roomId], undefined);
  await guest.send(roomId, 'still here');

  const repeated = await kurir(dataDir, 'room', 'shutdown', roomId, '--purge');
  assert.match(
    repeated.out,
    /is blocked: 0 users left it, and 0 aliases are gone\.\nIt is deleted, with \d+ events\.\n/,
  );
  assert.equal((await join()).status, 403, 'the block outlives what was known of the room');
  assert.equal((await kurir(dataDir, 'room', 'unblock', roomId)).code, 0);
  assert.equal((await join()).status, 200);
  await bob.send(roomId, 'back');
});

test('a room can be blocked before anybody of ours was in it', async () => {
  await using fleet = await startFleet(2);
  const guest = await register(fleet.at(0));
  const host = await register(fleet.at(1));
  const roomId = await host.createRoom({ preset: 'private_chat' });
  const dataDir = fleet.at(0).ctx.config.dataDir;
  const done = await kurir(dataDir, 'room', 'shutdown', roomId);
  assert.equal(done.out, `${roomId} is blocked. No user of this server was ever in it.\n`);
  assert.match((await kurir(dataDir, 'room', 'list')).out, new RegExp(`^\\${roomId} {2}blocked$`, 'm'));
  const invited = await host.try('POST', `${inRoom(roomId)}/invite`, { user_id: guest.userId });
  assert.equal(invited.status, 403);
  assert.equal((await guest.sync()).rooms?.invite, undefined);
});
