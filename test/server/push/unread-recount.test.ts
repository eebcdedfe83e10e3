/**
 * Whatever happens in a room, the counts are those of a full recount by a plain second implementation, which knows what
 * /messages shows, which receipts were sent, and which rules are set.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { diceOf } from '#test/harness/dice.ts';
import { casesOf, seed } from '#test/harness/rounds.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const STEPS = 120;
/** Events after which what is counted is written to disk, and some. */
const BEFOREHAND = 210;
const FILTER = { room: { timeline: { limit: 1, unread_thread_notifications: true } } };

interface Receipt {
  readonly eventId: string;
  readonly thread: string;
}

/** What the reader has set, as the test knows it. */
interface Settings {
  mutesRoom: boolean;
  hasKeyword: boolean;
  readsMentions: boolean;
  isLoudInPairs: boolean;
  ignoresCarol: boolean;
}

interface World {
  readonly server: TestServer;
  readonly roomId: string;
  readonly bob: TestClient;
  /** Who made the room, and somebody else. */
  readonly others: readonly [alice: TestClient, carol: TestClient];
  readonly dice: (sides: number) => number;
  readonly sent: string[];
  readonly receipts: Receipt[];
  readonly settings: Settings;
  transactions: number;
}

type Counts = Record<string, [notifications: number, highlights: number]>;

async function worldOf(server: TestServer, dice: World['dice']): Promise<World> {
  const [alice, bob, carol] = [await register(server), await register(server), await register(server)];
  const roomId = await alice.createRoom();
  await carol.join(roomId);
  await bob.join(roomId);
  const settings = {
    mutesRoom: false,
    hasKeyword: false,
    readsMentions: true,
    isLoudInPairs: false,
    ignoresCarol: false,
  };
  for (let sent = 0; sent < BEFOREHAND; sent += 30)
    await Promise.all(Array.from({ length: 30 }, () => carol.send(roomId, 'beforehand')));
  const known = { sent: [], receipts: [], settings, transactions: 0 };
  return { server, roomId, bob, others: [alice, carol], dice, ...known };
}

async function step(world: World): Promise<void> {
  const { dice, bob, others, server } = world;
  const other = pick(dice, others);
  switch (dice(20)) {
    case 0:
      return redact(world);
    case 1:
    case 2:
    case 3:
      return markRead(world);
    case 4:
      return changeRules(world);
    case 5:
      return dice(3) === 0 ? server.restart() : undefined;
    case 6:
      return say(world, bob);
    case 7:
      await bob.put(`/profile/${bob.userId}/displayname`, { displayname: `Bob ${dice(1000)}` });
      return;
    case 8:
      return comeAndGo(world);
    default:
      return say(world, other);
  }
}

function pick<T>(dice: World['dice'], items: readonly T[]): T {
  const item = items[dice(items.length)];
  assert.ok(item !== undefined);
  return item;
}

async function say({ dice, roomId, bob, sent }: World, sender: TestClient): Promise<void> {
  const content: Body = {
    msgtype: dice(6) === 0 ? 'm.notice' : 'm.text',
    body: dice(4) === 0 ? 'a CAKE!' : 'x',
  };
  if (dice(4) === 0) content['m.mentions'] = { user_ids: [bob.userId] };
  if (sent.length > 0 && dice(2) === 0) {
    const relType = pick(dice, ['m.thread', 'm.thread', 'm.reference', 'm.replace']);
    content['m.relates_to'] = { rel_type: relType, event_id: pick(dice, sent) };
    if (relType === 'm.replace') content['m.new_content'] = { msgtype: 'm.text', body: 'y' };
  }
  const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/t${sent.length}${dice(1e9)}`;
  const answer = await sender.try('PUT', path, content);
  // A thread cannot begin with an event that relates to another.
  if (answer.status === 200) sent.push(answer.body.event_id);
}

async function redact(world: World): Promise<void> {
  const { dice, roomId, sent, others } = world;
  if (sent.length === 0) return;
  const [alice] = others;
  const target = encodeURIComponent(pick(dice, sent));
  world.transactions += 1;
  await alice.put(`/rooms/${encodeURIComponent(roomId)}/redact/${target}/r${world.transactions}`, {});
}

async function markRead({ dice, roomId, bob, sent, receipts }: World): Promise<void> {
  if (sent.length === 0) return;
  const eventId = pick(dice, dice(3) === 0 ? sent.slice(-5) : sent);
  const thread = pick(dice, ['', 'main', pick(dice, sent)]);
  const type = pick(dice, ['m.read', 'm.read.private', 'm.fully_read']);
  const path = `/rooms/${encodeURIComponent(roomId)}/receipt/${type}/${encodeURIComponent(eventId)}`;
  const answer = await bob.try('POST', path, thread === '' ? {} : { thread_id: thread });
  if (answer.status === 200 && type !== 'm.fully_read') receipts.push({ eventId, thread });
}

async function changeRules({ dice, roomId, bob, others, settings }: World): Promise<void> {
  const rule = (kind: string, id: string) => `/pushrules/global/${kind}/${encodeURIComponent(id)}`;
  switch (dice(5)) {
    case 0:
      if (settings.mutesRoom) await bob.delete(rule('room', roomId));
      else await bob.put(rule('room', roomId), { actions: ['dont_notify'] });
      settings.mutesRoom = !settings.mutesRoom;
      return;
    case 1:
      if (settings.hasKeyword) await bob.delete(rule('content', 'cake'));
      else
        await bob.put(rule('content', 'cake'), {
          pattern: 'cake',
          actions: ['notify', { set_tweak: 'highlight', value: true }],
        });
      settings.hasKeyword = !settings.hasKeyword;
      return;
    case 2:
      settings.readsMentions = !settings.readsMentions;
      await bob.put(`${rule('override', '.m.rule.is_user_mention')}/enabled`, {
        enabled: settings.readsMentions,
      });
      return;
    case 3:
      settings.isLoudInPairs = !settings.isLoudInPairs;
      await bob.put(`${rule('underride', '.m.rule.room_one_to_one')}/actions`, {
        actions: settings.isLoudInPairs ? ['notify', { set_tweak: 'highlight' }] : ['notify'],
      });
      return;
    default: {
      settings.ignoresCarol = !settings.ignoresCarol;
      const ignored = settings.ignoresCarol ? { [others[1].userId]: {} } : {};
      await bob.put(`/user/${bob.userId}/account_data/m.ignored_user_list`, { ignored_users: ignored });
    }
  }
}

/** Carol leaves, or comes back. */
async function comeAndGo({ roomId, others }: World): Promise<void> {
  const [alice, carol] = others;
  const { joined } = await alice.get(`/rooms/${encodeURIComponent(roomId)}/joined_members`);
  if (Object.hasOwn(joined, carol.userId)) await carol.post(`/rooms/${encodeURIComponent(roomId)}/leave`);
  else await carol.join(roomId);
}

async function eventsOf({ roomId, others }: World): Promise<Body[]> {
  const events: Body[] = [];
  let from = '';
  for (;;) {
    // Each page begins where the last one ended.
    const page: Body = await others[0].get(
      `/rooms/${encodeURIComponent(roomId)}/messages?dir=f&limit=100${from === '' ? '' : `&from=${from}`}`,
    );
    events.push(...page.chunk);
    if (page.end === undefined) return events;
    from = page.end;
  }
}

function recount(world: World, events: readonly Body[], members: number): Counts {
  const { bob, receipts } = world;
  const at = new Map(events.map((event, index) => [event.event_id, index]));
  const byId = new Map(events.map((event) => [event.event_id, event]));
  const joined = events.findIndex(({ state_key: key }) => key === bob.userId);
  let unread: { index: number; thread: string; highlight: boolean }[] = [];
  for (const [index, event] of events.entries()) {
    if (index <= joined || event.unsigned?.redacted_because !== undefined) continue;
    const thread = threadOf(event, byId);
    if (event.sender === bob.userId) {
      const reads = event.state_key === undefined && event.type !== 'm.room.redaction';
      if (reads) unread = unread.filter((other) => other.thread !== thread);
      continue;
    }
    const effect = effectOf(world, event, members);
    if (effect !== 'none') unread.push({ index, thread, highlight: effect === 'highlight' });
  }
  const counts: Counts = { main: [0, 0] };
  for (const { index, thread, highlight } of unread) {
    const isRead = receipts.some(
      (receipt) =>
        (receipt.thread === '' || receipt.thread === thread) && index <= (at.get(receipt.eventId) ?? -1),
    );
    if (isRead) continue;
    const [notifications, highlights] = counts[thread] ?? [0, 0];
    counts[thread] = [notifications + 1, highlights + (highlight ? 1 : 0)];
  }
  return counts;
}

function threadOf(event: Body, byId: ReadonlyMap<string, Body>): string {
  let current = event;
  for (let hops = 0; hops < 3; hops++) {
    const relation = current?.content['m.relates_to'];
    if (relation === undefined) return 'main';
    if (relation.rel_type === 'm.thread') return relation.event_id;
    current = byId.get(relation.event_id);
  }
  return 'main';
}

function effectOf({ bob, others, settings }: World, event: Body, members: number) {
  const { content, sender, type } = event;
  if (settings.ignoresCarol && sender === others[1].userId) return 'none';
  if (type !== 'm.room.message' || content.msgtype === 'm.notice') return 'none';
  if (settings.readsMentions && content['m.mentions']?.user_ids.includes(bob.userId)) return 'highlight';
  if (content['m.relates_to']?.rel_type === 'm.replace') return 'none';
  if (settings.hasKeyword && content.body.includes('CAKE')) return 'highlight';
  if (settings.mutesRoom) return 'none';
  return settings.isLoudInPairs && members === 2 ? 'highlight' : 'notify';
}

async function told({ bob, roomId }: World): Promise<Counts> {
  const room = (await bob.sync({ filter: FILTER })).rooms.join[roomId];
  const threads = Object.entries<Body>(room.unread_thread_notifications ?? {});
  const all = [['main', room.unread_notifications] as const, ...threads];
  return Object.fromEntries(
    all.map(([thread, counts]) => [thread, [counts.notification_count, counts.highlight_count]]),
  );
}

test('counts are those of a full recount, whatever is sent, read, redacted and set, and after restarts', async (t) => {
  const worlds = casesOf({ usual: 2, inLongRun: 20 });
  t.diagnostic(`seed ${seed}`);
  for (let index = 0; index < worlds; index++) {
    await using server = await startServer();
    const world = await worldOf(server, diceOf(seed + index));
    for (let steps = 0; steps < STEPS; steps++) {
      await step(world);
      if (world.dice(3) !== 0) continue;
      const events = await eventsOf(world);
      const { joined } = await world.bob.get(`/rooms/${encodeURIComponent(world.roomId)}/joined_members`);
      const expected = recount(world, events, Object.keys(joined).length);
      assert.deepEqual(await told(world), expected, `seed ${seed}, world ${index}, after step ${steps}`);
    }
  }
});
