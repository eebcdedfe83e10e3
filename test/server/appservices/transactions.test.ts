/** https://spec.matrix.org/v1.19/application-service-api/#pushing-events */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { startService } from '#test/harness/service.ts';
import { addService, startWithService } from '#test/harness/service-server.ts';
import { until } from '#test/harness/until.ts';

test('a service is told what happens where one of its users is, and what concerns them, with its token', async () => {
  await using both = await startWithService();
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const elsewhere = await alice.createRoom();
  const unheard = await alice.send(elsewhere, 'not for the bridge');
  const ghost = await service.register(server, '_bridge_ghost');
  const roomId = await alice.createRoom();
  const before = await alice.send(roomId, 'before anybody of the bridge was there');
  await alice.post(`/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: ghost });
  await service.do(server, 'POST', `/join/${encodeURIComponent(roomId)}`, { as: ghost, body: {} });
  const said = await alice.send(roomId, 'hello');
  const answered = await service.send(server, roomId, 'hello yourself', ghost);
  const told = await service.untilTold(answered);
  assert.equal(told.content.body, 'hello yourself');
  assert.equal(told.room_id, roomId);
  const memberships = service.events.filter(
    ({ type, state_key }) => type === 'm.room.member' && state_key === ghost,
  );
  assert.deepEqual(
    memberships.map(({ content }) => content.membership),
    ['invite', 'join'],
  );
  assert.equal(memberships[1].unsigned.prev_content.membership, 'invite');
  assert.ok(Array.isArray(memberships[0].unsigned.invite_room_state));
  const ids = service.events.map(({ event_id: eventId }) => eventId);
  assert.deepEqual(ids.slice(-2), [said, answered]);
  assert.ok(!ids.includes(unheard) && !ids.includes(before));
  assert.ok(service.requests.every(({ authorization }) => authorization === `Bearer ${service.hsToken}`));
  assert.ok(service.requests.every(({ url }) => url.startsWith('/_matrix/app/v1/transactions/')));

  await service.do(server, 'POST', `/rooms/${encodeURIComponent(roomId)}/leave`, { as: ghost, body: {} });
  const after = await alice.send(roomId, 'after it has left');
  const last = await service.send(
    server,
    await alice.createRoom({ invite: [] }).then(() => roomWith(service, server)),
    'x',
  );
  await service.untilTold(last);
  const seen = service.events.map(({ event_id: eventId }) => eventId);
  assert.ok(!seen.includes(after));
  assert.ok(service.events.some(({ content }) => content.membership === 'leave'));
});

async function roomWith(
  service: Awaited<ReturnType<typeof startService>>,
  server: Parameters<typeof addService>[0],
): Promise<string> {
  return (await service.do(server, 'POST', '/createRoom', { body: {} })).room_id;
}

test('rooms and aliases of a namespace are told of though nobody of the service is there', async () => {
  await using both = await startWithService({
    namespaces: {
      users: [],
      aliases: [{ regex: '#_bridge_.*', exclusive: false }],
      rooms: [],
    },
  });
  const { server, service } = both;
  const alice = await register(server, 'alice');
  const named = await alice.createRoom();
  const unnamed = await alice.createRoom();
  await alice.put(`/directory/room/${encodeURIComponent('#_bridge_a:kurir.test')}`, { room_id: named });
  await using all = await startService({
    id: 'all',
    namespaces: { users: [], aliases: [], rooms: [{ regex: '!.*', exclusive: false }] },
  });
  await addService(server, all);
  const quiet = await alice.send(unnamed, 'one');
  const heard = await alice.send(named, 'two');
  await service.untilTold(heard);
  await all.untilTold(heard);
  assert.deepEqual(
    all.events.map(({ event_id: eventId }) => eventId),
    [quiet, heard],
  );
  assert.ok(service.events.every(({ room_id: roomId }) => roomId === named));
});

test('users of other servers are in no namespace, whatever its expression', async () => {
  await using both = await startWithService({
    namespaces: { users: [{ regex: '@.*', exclusive: false }], aliases: [], rooms: [] },
  });
  const { server, service } = both;
  assert.equal(
    (await service.try(server, 'GET', '/account/whoami', { as: '@a:elsewhere.test' })).status,
    403,
  );
});

test('a transaction that is not taken comes again as it was, under the same id, until it is; then what came meanwhile', async () => {
  let refusals = 2;
  await using both = await startWithService({
    answer: ({ url }) => {
      if (!url.includes('/transactions/') || refusals === 0) return undefined;
      refusals -= 1;
      return { status: 500, json: { errcode: 'M_UNKNOWN' } };
    },
  });
  const { server, service } = both;
  const room = await roomWith(service, server);
  const first = await service.send(server, room, 'one');
  await service.untilTold(first);
  const last = await service.send(server, room, 'two');
  await service.untilTold(last);
  const sent = service.requests.filter(({ url }) => url.includes('/transactions/'));
  const [a, b, c] = sent;
  assert.deepEqual([b?.url, c?.url], [a?.url, a?.url]);
  assert.deepEqual([b?.body, c?.body], [a?.body, a?.body]);
  const urls = sent.slice(2).map(({ url }) => url);
  assert.equal(new Set(urls).size, urls.length);
});

test('one that hangs, answers without end, or takes nothing hurts no other, and shows in its status', async () => {
  const namespaces = { rooms: [{ regex: '!.*' }] };
  await using hanging = await startService({ id: 'hanging', namespaces, answer: () => () => undefined });
  await using endless = await startService({
    id: 'endless',
    namespaces,
    answer: () => (response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      for (let index = 0; index < 10; index++) response.write('x'.repeat(1024 * 1024));
      response.end();
    },
  });
  await using refusing = await startService({ id: 'refusing', namespaces, answer: () => ({ status: 503 }) });
  await using both = await startWithService({ id: 'good', namespaces });
  const { server, service } = both;
  for (const other of [hanging, endless, refusing]) await addService(server, other);
  const alice = await register(server, 'alice');
  const roomId = await alice.createRoom();
  const sent: string[] = [];
  for (let index = 0; index < 5; index++) sent.push(await alice.send(roomId, `message ${index}`));
  for (const eventId of sent) await service.untilTold(eventId);
  const { appservices } = server.ctx;
  await until(() => (appservices.statusOf('refusing')?.waiting?.attempts ?? 0) > 0, 'the refusal is noted');
  assert.equal(appservices.statusOf('refusing')?.waiting?.problem, 'it answers 503');
  assert.ok(appservices.statusOf('hanging')?.waiting !== undefined);
  assert.ok((appservices.statusOf('good')?.taken ?? 0) > 0);
  await until(
    () => (appservices.statusOf('endless')?.taken ?? 0) > 0,
    'what was answered in full is of no interest',
  );
});

test('what happens while a service is away, or the server is, is told in order once both are back', async () => {
  await using both = await startWithService();
  const { server, service } = both;
  const room = await roomWith(service, server);
  const sent = [await service.send(server, room, 'zero')];
  await service.untilTold(sent[0] ?? '');
  await service.stop();
  for (let index = 0; index < 250; index++) sent.push(await service.send(server, room, `away ${index}`));
  await server.restart();
  for (let index = 0; index < 5; index++) sent.push(await service.send(server, room, `back ${index}`));
  await service.start();
  await service.untilTold(sent.at(-1) ?? '');
  const told = service.events.filter(({ type }) => type === 'm.room.message').map(({ event_id: id }) => id);
  assert.deepEqual(told, sent);
});

test('redactions say what they redact in both places, whatever the version of the room', async () => {
  for (const version of ['10', '11']) {
    await using both = await startWithService();
    const { server, service } = both;
    const created = await service.do(server, 'POST', '/createRoom', { body: { room_version: version } });
    const said = await service.send(server, created.room_id, 'oops');
    const path = `/rooms/${encodeURIComponent(created.room_id)}/redact/${encodeURIComponent(said)}/t1`;
    const { event_id: eventId } = await service.do(server, 'PUT', path, { body: {} });
    const told = await service.untilTold(eventId);
    assert.deepEqual([told.redacts, told.content.redacts], [said, said]);
  }
});

test('a service of the older paths is asked by these, with its token in the address where the operator says so', async () => {
  await using both = await startWithService({
    server: { appServiceTokenInQuery: true },
    answer: ({ url }) =>
      url.startsWith('/_matrix/app/v1/') ? { status: 404, text: 'no such page' } : undefined,
  });
  const { server, service } = both;
  const room = await roomWith(service, server);
  await service.untilTold(await service.send(server, room, 'one'));
  await service.untilTold(await service.send(server, room, 'two'));
  const former = service.requests.filter(({ url }) => url.startsWith('/transactions/'));
  assert.ok(former.length > 1);
  assert.ok(former.every(({ url }) => url.endsWith(`?access_token=${service.hsToken}`)));
  assert.equal(service.requests.filter(({ url }) => url.startsWith('/_matrix/')).length, 1);
});
