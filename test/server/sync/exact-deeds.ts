/** What users do at random in `exact.test.ts`. Nothing that they are refused matters; that the server fails does. */

import assert from 'node:assert/strict';
import type { Body, TestClient } from '#test/harness/client.ts';

export interface World {
  readonly users: readonly TestClient[];
  readonly rooms: readonly string[];
  /** The first event of each room that a receipt may be for, and all that were sent later. */
  readonly sent: Map<string, string[]>;
  /** To-device messages that were taken: to whom, from whom, and their numbers in order. */
  readonly messages: { readonly to: TestClient; readonly from: string; readonly number: number }[];
  /** Goes up by one with each deed, so that none is like another. */
  count: number;
}

type Dice = (sides: number) => number;

interface Doing {
  readonly world: World;
  readonly user: TestClient;
  readonly roomId: string;
  readonly dice: Dice;
  readonly number: number;
}

const at = (roomId: string, rest: string) => `/rooms/${encodeURIComponent(roomId)}/${rest}`;

const deeds: readonly ((doing: Doing) => Promise<unknown>)[] = [
  say,
  say,
  say,
  say,
  setState,
  setState,
  leave,
  join,
  join,
  invite,
  knock,
  removeSomebody,
  redact,
  read,
  read,
  type,
  setRoomData,
  setOwnData,
  tellDevice,
  tellDevice,
];

/** So many deeds of one user, one after the other. */
export async function act(world: World, user: TestClient, dice: Dice, count: number): Promise<void> {
  for (let done = 0; done < count; done++) {
    const roomId = pick(world.rooms, dice);
    world.count += 1;
    const deed = pick(deeds, dice);
    await deed({ world, user, roomId, dice, number: world.count });
  }
}

function pick<T>(list: readonly T[], dice: Dice): T {
  const item = list[dice(list.length)];
  assert.ok(item !== undefined);
  return item;
}

async function attempt(user: TestClient, method: string, path: string, body: object = {}): Promise<Body> {
  const answer = await user.try(method, path, body);
  assert.ok(answer.status < 500, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.status === 200 ? answer.body : undefined;
}

async function say({ world, user, roomId, number }: Doing): Promise<void> {
  const content = { msgtype: 'm.text', body: `${number}` };
  const sent = await attempt(user, 'PUT', at(roomId, `send/m.room.message/n${number}`), content);
  if (sent !== undefined) world.sent.get(roomId)?.push(sent.event_id);
}

function setState({ user, roomId, dice, number }: Doing): Promise<Body> {
  return attempt(user, 'PUT', at(roomId, `state/test.state/key${dice(3)}`), { number });
}

function leave({ user, roomId }: Doing): Promise<Body> {
  return attempt(user, 'POST', at(roomId, 'leave'));
}

function join({ world, user, roomId }: Doing): Promise<Body> {
  return attempt(user, 'POST', `/join/${encodeURIComponent(roomId)}?${viaOf(world)}`);
}

function knock({ world, user, roomId }: Doing): Promise<Body> {
  return attempt(user, 'POST', `/knock/${encodeURIComponent(roomId)}?${viaOf(world)}`);
}

function viaOf({ users }: World): string {
  const names = new Set(users.map(({ userId }) => userId.slice(userId.indexOf(':') + 1)));
  return [...names].map((name) => `via=${encodeURIComponent(name)}`).join('&');
}

function invite({ world, user, roomId, dice }: Doing): Promise<Body> {
  return attempt(user, 'POST', at(roomId, 'invite'), { user_id: pick(world.users, dice).userId });
}

function removeSomebody({ world, user, roomId, dice }: Doing): Promise<Body> {
  const how = pick(['kick', 'ban', 'unban'], dice);
  return attempt(user, 'POST', at(roomId, how), { user_id: pick(world.users, dice).userId });
}

async function redact({ world, user, roomId, dice, number }: Doing): Promise<void> {
  const sent = world.sent.get(roomId) ?? [];
  if (sent.length > 0) {
    await attempt(user, 'PUT', at(roomId, `redact/${encodeURIComponent(pick(sent, dice))}/n${number}`));
  }
}

async function read({ world, user, roomId, dice }: Doing): Promise<void> {
  const sent = world.sent.get(roomId) ?? [];
  if (sent.length === 0) return;
  const kind = pick(['m.read', 'm.read.private'], dice);
  const thread = pick([{}, { thread_id: 'main' }], dice);
  await attempt(user, 'POST', at(roomId, `receipt/${kind}/${encodeURIComponent(pick(sent, dice))}`), thread);
}

function type({ user, roomId, dice }: Doing): Promise<Body> {
  const path = at(roomId, `typing/${encodeURIComponent(user.userId)}`);
  return attempt(user, 'PUT', path, { typing: dice(2) === 0, timeout: 100_000 });
}

function setRoomData({ user, roomId, dice, number }: Doing): Promise<Body> {
  const path = `/user/${encodeURIComponent(user.userId)}/rooms/${encodeURIComponent(roomId)}`;
  return attempt(user, 'PUT', `${path}/account_data/test.data${dice(2)}`, { number });
}

function setOwnData({ user, dice, number }: Doing): Promise<Body> {
  const path = `/user/${encodeURIComponent(user.userId)}/account_data/test.data${dice(2)}`;
  return attempt(user, 'PUT', path, { number });
}

async function tellDevice({ world, user, dice, number }: Doing): Promise<void> {
  const to = pick(world.users, dice);
  const messages = { [to.userId]: { [to.deviceId]: { number } } };
  const taken = await attempt(user, 'PUT', `/sendToDevice/test.message/n${number}`, { messages });
  if (taken !== undefined) world.messages.push({ to, from: user.userId, number });
}
