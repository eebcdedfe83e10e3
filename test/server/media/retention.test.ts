/** How long files are kept, and which ones are kept whatever the options say. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tidyMedia } from '#federation/media/tidy.ts';
import { register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { download, partsOf, picture, thumbnail, upload } from '#test/harness/media.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { filesOnDisk, operate } from './bucket-story.ts';

const DAY_MS = 86_400_000;
const never = new AbortController().signal;

function ticking() {
  const clock = { time: Date.now(), now: () => clock.time };
  return clock;
}

const tidy = (server: TestServer) => tidyMedia(server.ctx, never);

test('files that nobody reads go after their time; avatars and protected ones stay, and so does what is read', async () => {
  const clock = ticking();
  await using server = await startServer({ clock, localMediaMaxUnused: 30 * DAY_MS });
  const alice = await register(server, 'alice');
  const at: Record<string, string> = {};
  for (const name of ['unread', 'read', 'avatar', 'room', 'member', 'protected', 'withheld']) {
    at[name] = await upload(alice, await picture(200 + name.length, 100 + Object.keys(at).length));
  }
  const uri = (name: string): string => at[name] ?? '';
  await thumbnail(alice, uri('unread'), { width: 32, height: 32, method: 'crop' });
  const path = `/profile/${encodeURIComponent(alice.userId)}/avatar_url`;
  await alice.put(path, { avatar_url: uri('avatar') });
  const roomId = await alice.createRoom();
  const state = `/rooms/${encodeURIComponent(roomId)}/state`;
  await alice.put(`${state}/m.room.avatar`, { url: uri('room') });
  await alice.put(`${state}/m.room.member/${encodeURIComponent(alice.userId)}`, {
    membership: 'join',
    avatar_url: uri('member'),
  });
  await operate(server, { operation: 'media.protect', media: uri('protected') });
  await operate(server, { operation: 'media.quarantine', media: uri('withheld') });
  clock.time += 20 * DAY_MS;
  await download(alice, uri('read'));
  await tidy(server);
  assert.equal((await filesOnDisk(server)).length, 8);
  clock.time += 20 * DAY_MS;
  await tidy(server);
  const statuses = await Promise.all(
    Object.entries(at).map(async ([name, mxc]) => [name, (await download(alice, mxc)).status]),
  );
  assert.deepEqual(Object.fromEntries(statuses), {
    unread: 404,
    read: 200,
    avatar: 200,
    room: 200,
    member: 200,
    protected: 200,
    withheld: 404,
  });
  // With its thumbnail.
  assert.equal((await filesOnDisk(server)).length, 6);
  await operate(server, { operation: 'media.unprotect', media: uri('protected') });
  clock.time += 40 * DAY_MS;
  await tidy(server);
  assert.equal((await download(alice, uri('protected'))).status, 404);
  assert.equal((await download(alice, uri('avatar'))).status, 200);
});

test('pictures in packs of emoji and stickers stay, whoever has read them, until no pack has them any more', async () => {
  const clock = ticking();
  await using server = await startServer({ clock, localMediaMaxUnused: 30 * DAY_MS });
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const roomId = await alice.createRoom();
  const state = `/rooms/${encodeURIComponent(roomId)}/state`;
  const data = `/user/${encodeURIComponent(bob.userId)}/account_data`;
  const packs = {
    'of a room': (content: object) => alice.put(`${state}/im.ponies.room_emotes/cats`, content),
    'of a room, by its stable name': (content: object) => alice.put(`${state}/m.room.image_pack/`, content),
    'of a user who has it from another': (content: object) =>
      bob.put(`${data}/im.ponies.user_emotes`, content),
  };
  const pictures: string[] = [];
  for (const [name, put] of Object.entries(packs)) {
    const uris: string[] = [];
    for (const part of ['picture', 'thumbnail', 'cover']) uris.push(await upload(alice, `${name} ${part}`));
    const [url, thumbnail_url, avatar_url] = uris;
    await put({ images: { cat: { url, info: { thumbnail_url } } }, pack: { avatar_url } });
    pictures.push(...uris);
  }
  const unused = await upload(alice, 'in no pack');
  const statuses = async () => {
    const answers: number[] = [];
    for (const uri of pictures) answers.push((await download(alice, uri)).status);
    return answers;
  };
  clock.time += 40 * DAY_MS;
  await tidy(server);
  assert.equal((await download(alice, unused)).status, 404);
  assert.deepEqual(await statuses(), Array(9).fill(200));
  for (const put of Object.values(packs)) await put({ images: {} });
  clock.time += 40 * DAY_MS;
  await tidy(server);
  assert.deepEqual(await statuses(), Array(9).fill(404));
});

test('files go at a certain age though they are read, and their bytes count no more', async () => {
  const clock = ticking();
  await using server = await startServer({ clock, localMediaMaxAge: 10 * DAY_MS, userMediaQuota: 250_000 });
  const alice = await register(server, 'alice');
  for (let number = 0; number < 120; number += 1) await upload(alice, `${number}`.repeat(500));
  const old = await upload(alice, 'x'.repeat(60_000));
  clock.time += 9 * DAY_MS;
  const young = await upload(alice, 'young');
  assert.equal((await alice.try('POST', '/_matrix/media/v3/upload', Buffer.alloc(100_000))).status, 403);
  clock.time += 2 * DAY_MS;
  assert.equal((await download(alice, old)).status, 200);
  await tidy(server);
  assert.equal((await download(alice, old)).status, 404);
  assert.equal((await download(alice, young)).status, 200);
  assert.equal((await filesOnDisk(server)).length, 1);
  await upload(alice, Buffer.alloc(240_000));
});

test('without an option nothing goes, and files of other servers go by an option of their own', async () => {
  const clock = ticking();
  await using fleet = await startFleet(2, { clock });
  const [a, b] = fleet.servers;
  assert.ok(a !== undefined && b !== undefined);
  const alice = await register(a, 'alice');
  const bob = await register(b, 'bob');
  const [first, second] = [await upload(alice, 'first'), await upload(alice, 'second')];
  for (const uri of [first, second]) assert.equal((await download(bob, uri)).status, 200);
  await operate(b, { operation: 'media.protect', media: second });
  clock.time += 1_000 * DAY_MS;
  await Promise.all([tidy(a), tidy(b)]);
  assert.deepEqual([(await filesOnDisk(a)).length, (await filesOnDisk(b)).length], [2, 2]);
  await b.restart({ remoteMediaMaxUnused: 90 * DAY_MS });
  await tidy(b);
  assert.equal((await filesOnDisk(b)).length, 1);
  assert.equal((await download(bob, first)).bytes.toString(), 'first');
});

test('media delete takes a file away with its last address, and says what it does not know', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const [one, same] = [await upload(alice, 'x'), await upload(alice, 'x')];
  assert.equal(await operate(server, { operation: 'media.delete', media: one }), `${one} is deleted.`);
  assert.equal((await download(alice, one)).status, 404);
  assert.equal((await download(alice, same)).status, 200);
  await operate(server, { operation: 'media.delete', media: same });
  assert.deepEqual(await filesOnDisk(server), []);
  for (const operation of ['media.delete', 'media.protect', 'media.unprotect']) {
    assert.match(await operate(server, { operation, media: one }), /there is no media/);
    assert.match(await operate(server, { operation, media: partsOf(one) }), /is not the address of a media/);
  }
});
