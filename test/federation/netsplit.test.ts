/** F32: servers that are cut off from each other, whose users go on meanwhile, agree on everything afterwards. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId } from '#keys/ids.ts';
import { getRoom } from '#rooms/room.ts';
import { currentState } from '#rooms/state.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { diceOf } from '#test/harness/dice.ts';
import { type Fleet, startFleet } from '#test/harness/fleet.ts';
import { casesOf, seed } from '#test/harness/rounds.ts';
import type { TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const SERVERS = 3;
const SPLITS = casesOf({ usual: 3, inLongRun: 10 });
const DEEDS = 8;

/** What somebody does in the room; the answer may be a refusal, as the others may have done something before. */
type Deed = (
  user: TestClient,
  at: { readonly roomId: string; readonly guest: string; readonly n: number },
) => Promise<unknown>;

function leave(user: TestClient, { roomId }: { readonly roomId: string }): Promise<unknown> {
  return user.try('POST', `${inRoom(roomId)}/leave`);
}

const deeds: readonly Deed[] = [
  (user, { roomId, n }) => user.try('PUT', `${inRoom(roomId)}/send/m.room.message/split${n}`, message(n)),
  (user, { roomId, n }) => user.try('PUT', `${inRoom(roomId)}/send/m.room.message/split${n}`, message(n)),
  (user, { roomId, n }) => user.try('PUT', `${inRoom(roomId)}/state/m.room.topic/`, { topic: `${n}` }),
  (user, { roomId, n }) => user.try('PUT', `${inRoom(roomId)}/state/test.state/${n % 3}`, { n }),
  leave,
  (user, { roomId }) => user.try('POST', `${inRoom(roomId)}/join`),
  (user, { roomId, guest }) => user.try('POST', `${inRoom(roomId)}/ban`, { user_id: guest }),
  (user, { roomId }) =>
    user.try('PUT', `/profile/${encodeURIComponent(user.userId)}/displayname`, {
      displayname: roomId.slice(1, 9),
    }),
];

function message(n: number): object {
  return { msgtype: 'm.text', body: `split ${n}` };
}

test('F32: after splits in which all sides change the room, state and members are the same everywhere, and who was banned stays so', async (t) => {
  t.diagnostic(`seed ${seed}, ${SPLITS} splits of ${SERVERS} servers`);
  await using fleet = await startFleet(SERVERS, { hasNetwork: true });
  const dice = diceOf(seed);
  const moderators = await Promise.all(fleet.servers.map((server) => register(server)));
  const guests = await Promise.all([...fleet.servers, ...fleet.servers].map((server) => register(server)));
  const [admin] = moderators as [TestClient];
  const version = ['10', '11', '12'][dice(3)] ?? '12';
  const others = moderators.slice(1).map(({ userId }) => [userId, 50]);
  // v12: who created the room is above all levels, and is not named among them.
  const users = Object.fromEntries(version === '12' ? others : [[admin.userId, 100], ...others]);
  const roomId = await admin.createRoom({
    room_version: version,
    power_level_content_override: { users, events: { 'm.room.topic': 0, 'test.state': 0 } },
  });
  for (const user of [...moderators.slice(1), ...guests]) {
    if (user.server === fleet.at(0)) await user.join(roomId);
    else await bringIn(admin, user, roomId);
  }
  for (const user of guests)
    for (const viewer of moderators) await untilMember(viewer, roomId, user.userId, 'join');
  const everybody = [...moderators, ...guests];
  const bannedForGood = new Set<string>();
  for (let split = 0; split < SPLITS; split++) {
    fleet.network.split(fleet.servers.map(({ serverName }) => [serverName]));
    for (let deed = 0; deed < DEEDS; deed++) {
      const user = everybody[dice(everybody.length)] ?? admin;
      const guest = guests[dice(guests.length)]?.userId ?? '';
      // One after the other, so that the seed decides all.
      // Those who speak for their servers afterwards stay.
      const choices = moderators.includes(user) ? deeds.filter((each) => each !== leave) : deeds;
      await choices[dice(choices.length)]?.(user, { roomId, guest, n: split * DEEDS + deed });
    }
    fleet.network.heal();
    await heal(fleet, moderators, { roomId, split });
    for (const userId of bannedForGood) await assertBanned(fleet, roomId, userId);
    for (const { userId } of guests)
      if ((await stateOf(fleet.at(0), roomId)).get(`m.room.member ${userId}`)?.includes('"ban"'))
        bannedForGood.add(userId);
  }
});

/** Everybody speaks, which tells the others what they missed; then all are the same. */
async function heal(
  fleet: Fleet,
  moderators: readonly TestClient[],
  { roomId, split }: { roomId: string; split: number },
): Promise<void> {
  for (const server of fleet.servers) {
    for (const other of fleet.servers) if (other !== server) server.ctx.sender.retry(other.serverName);
  }
  const words = moderators.map((_, index) => `healed ${split} ${index}`);
  for (const [index, user] of moderators.entries()) await user.send(roomId, words[index] ?? '');
  for (const viewer of moderators) await untilMessages(viewer, roomId, words);
  let last = '';
  await until(async () => {
    const states = await Promise.all(
      fleet.servers.map(async (server) => [...(await stateOf(server, roomId))].sort()),
    );
    last = JSON.stringify(states, undefined, 1);
    return new Set(states.map((state) => JSON.stringify(state))).size === 1;
  }, 'one state on all servers').catch((error: unknown) => assert.fail(`${error}: ${last}`));
}

/** The current state of the room on a server, each with its event and its membership. */
async function stateOf(server: TestServer, roomId: string): Promise<Map<string, string>> {
  const room = await getRoom(server.ctx, roomId as RoomId);
  assert.ok(room);
  const state = await currentState(server.ctx, room.roomNid);
  return new Map(
    state.map(({ event }) => [
      `${event.type} ${event.stateKey}`,
      `${event.eventId} ${JSON.stringify(event.content.membership ?? null)}`,
    ]),
  );
}

async function assertBanned(fleet: Fleet, roomId: string, userId: string): Promise<void> {
  for (const server of fleet.servers) {
    const member = (await stateOf(server, roomId)).get(`m.room.member ${userId}`);
    assert.ok(member?.endsWith('"ban"'), `${userId} is ${member} at ${server.serverName}`);
  }
}
