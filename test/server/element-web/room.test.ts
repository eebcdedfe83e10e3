/** What Element Web does in a room with somebody of another server, and what else it asks for, request by request. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Body, register } from '#test/harness/client.ts';
import { bringIn, inRoom } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { partsOf, picture } from '#test/harness/media.ts';
import { until } from '#test/harness/until.ts';
import { type Browser, signInOnWeb } from './browser.ts';

const V1 = '/_matrix/client/v1';
const PLACE = { name: 'Records', topic: 'What was decided' };

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const account = await register(fleet.at(0), 'agnes');
const birger = await register(fleet.at(1), 'birger');
const browser: Browser = await signInOnWeb(fleet.at(0), 'agnes', account.password);
const ME = encodeURIComponent(account.userId);
const { room_id: roomId } = await browser.call('POST', '/createRoom', { ...PLACE, preset: 'private_chat' });
const room = inRoom(roomId);
await bringIn(account, birger, roomId);
const png = await picture(64, 48);
const { content_uri: uri } = await browser.call(
  'POST',
  '/_matrix/media/v3/upload?filename=plan.png',
  png,
  'image/png',
);
const question = await birger.send(roomId, 'shall we meet?');
const reply = await birger.sendEvent(roomId, 'm.room.message', {
  ...{ msgtype: 'm.text', body: 'on Monday' },
  'm.relates_to': { rel_type: 'm.thread', event_id: question },
});
const last = await birger.send(roomId, 'good bye');

/** The ids of events, in their order. */
function idsOf(events: readonly Body[]): string[] {
  return events.map(({ event_id: id }) => id);
}

test('8: a room is opened: who is in it, what was said, and what stands around an event', async () => {
  await until(async () => {
    const { chunk } = await browser.call('GET', `${room}/messages?dir=b&limit=1`);
    return idsOf(chunk)[0] === last;
  }, 'that the messages have come');
  const { next_batch: since, rooms } = await browser.sync();
  const { prev_batch: at } = rooms.join[roomId].timeline;
  const { chunk: members } = await browser.call('GET', `${room}/members?not_membership=leave&at=${since}`);
  assert.deepEqual(
    members.map(({ state_key: userId, content }: Body) => [userId, content.membership]).sort(),
    [
      [account.userId, 'join'],
      [birger.userId, 'join'],
    ].sort(),
  );
  const lazy = encodeURIComponent(JSON.stringify({ lazy_load_members: true }));
  const page = await browser.call('GET', `${room}/messages?from=${since}&limit=20&dir=b&filter=${lazy}`);
  assert.deepEqual(idsOf(page.chunk).slice(0, 3), [last, reply, question]);
  assert.ok(page.state.some(({ state_key: userId }: Body) => userId === birger.userId));
  await browser.call('GET', `${room}/messages?from=${encodeURIComponent(at)}&limit=20&dir=b`);

  const context = await browser.call('GET', `${room}/context/${question}?limit=20&filter=${lazy}`);
  assert.equal(context.event.event_id, question);
  assert.deepEqual(idsOf(context.events_after), [reply, last]);
  assert.equal(typeof context.start, 'string');
  assert.equal(typeof context.end, 'string');
  const older = await browser.call('GET', `${room}/messages?from=${context.start}&limit=20&dir=b`);
  assert.ok(!idsOf(older.chunk).includes(question));
  assert.equal((await browser.call('GET', `${room}/event/${last}`)).event_id, last);
});

test('8: threads and what belongs to an event', async () => {
  const { chunk: threads } = await browser.call('GET', `${V1}${room}/threads?include=all&limit=20`);
  assert.deepEqual(idsOf(threads), [question]);
  const bundle = threads[0].unsigned['m.relations']['m.thread'];
  assert.deepEqual([bundle.count, bundle.latest_event.event_id], [1, reply]);
  const own = await browser.call('GET', `${V1}${room}/threads?include=participated`);
  assert.deepEqual(own.chunk, []);
  const all = await browser.call('GET', `${V1}${room}/relations/${question}?dir=b&limit=50&recurse=true`);
  assert.deepEqual(idsOf(all.chunk), [reply]);
  assert.equal(typeof all.recursion_depth, 'number');
  const path = `${V1}${room}/relations/${question}/m.thread/m.room.message?dir=f`;
  assert.deepEqual(idsOf((await browser.call('GET', path)).chunk), [reply]);
});

test('8: what was read, and who is typing, is seen by the other, and by one’s other devices', async () => {
  const { next_batch: since } = await birger.sync();
  const { next_batch: mine } = await browser.sync();
  await browser.call('POST', `${room}/read_markers`, { 'm.fully_read': last });
  await browser.call('POST', `${room}/receipt/m.read/${question}`, { thread_id: 'main' });
  await browser.call('POST', `${room}/receipt/m.read/${reply}`, { thread_id: question });
  await browser.call('POST', `${room}/receipt/m.read.private/${last}`, {});
  await browser.call('PUT', `${room}/typing/${ME}`, { typing: true, timeout: 20_000 });
  const seen = new Set<string>();
  await birger.syncUntil(
    ({ rooms }: Body) => {
      for (const { type, content } of rooms?.join?.[roomId]?.ephemeral?.events ?? []) {
        if (type === 'm.typing') seen.add(`typing ${content.user_ids}`);
        if (type !== 'm.receipt') continue;
        for (const [eventId, receipts] of Object.entries<Body>(content)) {
          for (const kind of Object.keys(receipts)) seen.add(`${kind} ${eventId}`);
        }
      }
      return seen.size >= 3;
    },
    { since },
  );
  assert.deepEqual(seen, new Set([`typing ${account.userId}`, `m.read ${question}`, `m.read ${reply}`]));
  const { rooms } = await browser.syncUntil(mine, (answer) => answer.rooms?.join?.[roomId] !== undefined);
  assert.deepEqual(rooms.join[roomId].account_data.events, [
    { type: 'm.fully_read', content: { event_id: last } },
  ]);
  await browser.call('PUT', `${room}/typing/${ME}`, { typing: false });
});

test('8: media are fetched by the service worker, with the token; a preview of a link is not asked for where there are none', async () => {
  const { status, bytes, headers } = await browser.media(`download/${partsOf(uri)}?allow_redirect=true`);
  assert.deepEqual([status, bytes, headers.get('content-type')], [200, png, 'image/png']);
  const query = 'width=32&height=32&method=crop&animated=true&allow_redirect=true';
  const small = await browser.media(`thumbnail/${partsOf(uri)}?${query}`);
  assert.equal(small.status, 200);
  assert.match(small.headers.get('content-type') ?? '', /^image\//);
  const { capabilities } = await browser.call('GET', '/capabilities');
  assert.equal(capabilities['io.element.msc4452.preview_url'].enabled, false);
  const link = encodeURIComponent('https://example.org/');
  await browser.refused('GET', `${V1}/media/preview_url?url=${link}&ts=0`, [404, 'M_UNRECOGNIZED']);
});

test('10: a server that has no such interface says so at once', async () => {
  for (const [method, path] of [
    ['GET', `/_synapse/admin/v1/users/${ME}/admin`],
    ['GET', `/_synapse/admin/v1/whois/${ME}`],
    ['POST', `/_synapse/admin/v1/deactivate/${ME}`],
    ['GET', '/_matrix/client/unstable/org.matrix.msc1763/retention/configuration'],
    ['GET', '/_matrix/client/unstable/io.element.msc4388/rendezvous'],
    ['POST', '/_matrix/client/unstable/org.matrix.msc4108/rendezvous'],
  ] as const) {
    await browser.refused(method, path, [404, 'M_UNRECOGNIZED']);
  }
});

test('10: people and rooms are searched, here and at the other server', async () => {
  const found = await browser.call('POST', '/user_directory/search', { search_term: 'birger', limit: 50 });
  assert.deepEqual(
    found.results.map(({ user_id: userId }: Body) => userId),
    [birger.userId],
  );
  const open = await birger.createRoom({
    ...{ name: 'Office hours', visibility: 'public', room_alias_name: 'office' },
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } }],
  });
  const listed = await browser.call('POST', `/publicRooms?server=${fleet.at(1).serverName}`, {
    limit: 20,
    filter: { generic_search_term: 'office', room_types: [null] },
  });
  assert.deepEqual(
    listed.chunk.map((entry: Body) => [entry.room_id, entry.canonical_alias, entry.num_joined_members]),
    [[open, `#office:${fleet.at(1).serverName}`, 1]],
  );
  const alias = encodeURIComponent(`#office:${fleet.at(1).serverName}`);
  const { room_id: resolved, servers } = await browser.call('GET', `/directory/room/${alias}`);
  assert.deepEqual([resolved, servers], [open, [fleet.at(1).serverName]]);
  const summary = await browser.call(
    'GET',
    `${V1}/room_summary/${encodeURIComponent(open)}?via=${fleet.at(1).serverName}`,
  );
  assert.deepEqual([summary.name, summary.membership, summary.room_version], ['Office hours', 'leave', '12']);
});

test('10: a space is looked into; a widget gets a token by which it learns who the user is', async () => {
  const { room_id: space } = await browser.call('POST', '/createRoom', {
    ...{ name: 'Authority', preset: 'private_chat', creation_content: { type: 'm.space' } },
    initial_state: [
      {
        type: 'm.space.child',
        state_key: roomId,
        content: { via: [fleet.at(0).serverName], suggested: true },
      },
    ],
  });
  const { rooms } = await browser.call(
    'GET',
    `${V1}${inRoom(space)}/hierarchy?suggested_only=false&max_depth=1&limit=50`,
  );
  assert.deepEqual(
    rooms.map(({ room_id: id, name, children_state: children }: Body) => [id, name, children.length]),
    [
      [space, 'Authority', 1],
      [roomId, PLACE.name, 0],
    ],
  );
  const token = await browser.call('POST', `/user/${ME}/openid/request_token`, {});
  assert.deepEqual(
    [token.token_type, token.matrix_server_name, typeof token.access_token, token.expires_in > 0],
    ['Bearer', fleet.at(0).serverName, 'string', true],
  );
});
