/** A bridge made of matrix-appservice-bridge, the library of the bridges of matrix.org and of matrix-hookshot. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { parse } from 'yaml';
import { register } from '#test/harness/client.ts';
import { freePort } from '#test/harness/free-port.ts';
import { startServer } from '#test/harness/server.ts';
import { TestService } from '#test/harness/service.ts';
import { addService } from '#test/harness/service-server.ts';
import { until } from '#test/harness/until.ts';
import { appserviceBridge, type BridgeEvent } from './parts.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const server = resources.use(await startServer());
const port = await freePort();
const file = new TestService({ registration: { url: `http://127.0.0.1:${port}`, rate_limited: false } });
const { Bridge, AppServiceRegistration } = await appserviceBridge();
const told: BridgeEvent[] = [];
const bridge = new Bridge({
  homeserverUrl: server.clientUrl,
  domain: server.serverName,
  registration: AppServiceRegistration.fromObject(parse(file.yaml)),
  disableStores: true,
  controller: {
    onUserQuery: () => ({}),
    onEvent: (request) => {
      told.push(request.getData());
      answer(request.getData()).catch((error: unknown) => told.push(failed(error)));
    },
  },
});
await addService(server, file);
await bridge.run(port, undefined, '127.0.0.1');
resources.defer(() => bridge.close());
const alice = await register(server, 'alice');
const ghost = `@_bridge_remote:${server.serverName}`;
let roomId = '';

/** Joins where it is invited, and says again what people say. */
async function answer({
  type,
  room_id: room,
  sender,
  state_key: target,
  content,
}: BridgeEvent): Promise<void> {
  if (sender.startsWith('@_bridge_')) return;
  if (type === 'm.room.member' && content.membership === 'invite') await bridge.getIntent(target).join(room);
  if (type === 'm.room.message') await bridge.getIntent(ghost).sendText(room, `heard: ${content.body}`);
}

function failed(error: unknown): BridgeEvent {
  return { type: 'failed', room_id: '', sender: '', content: { body: String(error) } };
}

test('a user of the network is made as it is invited, and comes', async () => {
  roomId = await alice.createRoom({ invite: [] });
  await alice.post(`/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: ghost });
  await until(
    async () => ghost in (await alice.get(`/rooms/${encodeURIComponent(roomId)}/joined_members`)).joined,
  );
  await bridge.getIntent(ghost).setDisplayName('Remote');
  const { displayname } = await alice.get(`/profile/${encodeURIComponent(ghost)}`);
  assert.equal(displayname, 'Remote');
});

test('what people say goes to the bridge, and comes back in order', async () => {
  for (let count = 0; count < 10; count++) await alice.send(roomId, `message ${count}`);
  const heard = async (): Promise<string[]> => {
    const { chunk } = await alice.get(`/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=50`);
    return chunk
      .filter((event: BridgeEvent) => event.sender === ghost && event.type === 'm.room.message')
      .map((event: BridgeEvent) => event.content.body);
  };
  await until(async () => (await heard()).length === 10, 'ten answers');
  const said = told.filter(({ type, sender }) => type === 'm.room.message' && sender === alice.userId);
  assert.deepEqual(
    said.map(({ content }) => content.body),
    Array.from({ length: 10 }, (_, count) => `message ${count}`),
  );
  assert.deepEqual(
    told.filter(({ type }) => type === 'failed'),
    [],
  );
});

test('it goes on after the server was restarted, and has missed nothing', async () => {
  await server.restart();
  const eventId = await alice.send(roomId, 'still there?');
  assert.ok(eventId);
  await until(() => told.some(({ content }) => content.body === 'still there?'), 'the message');
});
