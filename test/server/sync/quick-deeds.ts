/** What happens in rooms while a client waits for news, in the tests of answers that are put together from memory. */

import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import type { TestServer } from '#test/harness/server.ts';

export type Deed = (world: World) => Promise<unknown>;

export interface World {
  readonly alice: TestClient;
  readonly bob: TestClient;
  readonly carol: TestClient;
  readonly roomId: string;
  readonly otherId: string;
}

const room = ({ roomId }: World) => `/rooms/${encodeURIComponent(roomId)}`;
const message = (body: string, more: object = {}) => ({ msgtype: 'm.text', body, ...more });

export const DEEDS: Readonly<Record<string, Deed>> = {
  'a message': ({ bob, roomId }) => bob.send(roomId, 'hello'),
  'a message of somebody who has not spoken before': ({ carol, roomId }) => carol.send(roomId, 'hello'),
  'a message of the device itself': ({ alice, roomId }) => alice.send(roomId, 'mine'),
  'a message of another device': async ({ alice, roomId }) => {
    const other = await login(alice.server, alice.userId, alice.password);
    await other.send(roomId, 'mine, too');
  },
  'messages in two rooms': async ({ bob, roomId, otherId }) => {
    await bob.send(roomId, 'here');
    await bob.send(otherId, 'there');
  },
  'a mention': ({ alice, bob, roomId }) =>
    bob.sendEvent(roomId, 'm.room.message', message('you', { 'm.mentions': { user_ids: [alice.userId] } })),
  'a mention of all': ({ bob, roomId }) =>
    bob.sendEvent(roomId, 'm.room.message', message('all', { 'm.mentions': { room: true } })),
  'a thread': async ({ bob, roomId }) => {
    const root = await bob.send(roomId, 'root');
    const relation = { rel_type: 'm.thread', event_id: root };
    await bob.sendEvent(roomId, 'm.room.message', message('in it', { 'm.relates_to': relation }));
  },
  'a redaction': async (world) => {
    const eventId = await world.bob.send(world.roomId, 'regretted');
    await world.bob.put(`${room(world)}/redact/${encodeURIComponent(eventId)}/t${Date.now()}`);
  },
  'a topic': (world) => world.alice.put(`${room(world)}/state/m.room.topic`, { topic: `${Math.random()}` }),
  'a receipt of another': async (world) => {
    const eventId = await world.bob.send(world.roomId, 'read by carol');
    await world.carol.post(`${room(world)}/receipt/m.read/${encodeURIComponent(eventId)}`);
  },
  'a receipt of the user': async (world) => {
    const eventId = await world.bob.send(world.roomId, 'read by alice');
    await world.alice.post(`${room(world)}/receipt/m.read/${encodeURIComponent(eventId)}`);
    await world.bob.send(world.roomId, 'unread');
  },
  'typing, and a message': async (world) => {
    const path = `${room(world)}/typing/${encodeURIComponent(world.bob.userId)}`;
    await world.bob.put(path, { typing: true, timeout: 30_000 });
    await world.bob.send(world.roomId, 'typed');
  },
  'account data, and a message': async ({ alice, bob, roomId }) => {
    const path = `/user/${encodeURIComponent(alice.userId)}/account_data/org.example`;
    await alice.put(path, { n: Math.random() });
    await bob.send(roomId, 'besides');
  },
  'thirty messages': async ({ bob, roomId }) => {
    for (let count = 0; count < 30; count++) await bob.send(roomId, `number ${count}`);
  },
};

/** Alice, who waits, and two others in two rooms. */
export async function worldOn(server: TestServer): Promise<World> {
  const [alice, bob, carol] = [await register(server), await register(server), await register(server)];
  const [roomId, otherId] = [await alice.createRoom(), await alice.createRoom()];
  for (const user of [bob, carol]) for (const id of [roomId, otherId]) await user.join(id);
  return { alice, bob, carol, roomId, otherId };
}

/** An answer, but for what depends on the moment. */
export function withoutAge(answer: Body): Body {
  return JSON.parse(JSON.stringify(answer, (key, value) => (key === 'age' ? undefined : value)));
}
