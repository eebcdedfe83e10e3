/** This server as the policy server of rooms. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { PolicyRules, type PolicyRulesConfig } from '#federation/policy/rules.ts';
import type { RoomId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { loadEvent } from '#rooms/load.ts';
import { sendEvents } from '#rooms/send.ts';
import { showPolicy, tryPolicy } from '#server/cli/policy-commands.ts';
import { type Body, register, request, type TestClient } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { startServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(2, {
  policyServer: true,
  policyRefusedMsgtypes: ['m.image'],
  policyRefusedUsers: ['@unwanted*:*'],
});
after(() => fleet[Symbol.asyncDispose]());
const guard = fleet.at(0);

const inRoom = (roomId: string): string => `/rooms/${encodeURIComponent(roomId)}`;
const image = { msgtype: 'm.image', body: 'cat.png', url: 'mxc://here.test/abc' };

function trySend(client: TestClient, roomId: string, content: object) {
  return client.try('PUT', `${inRoom(roomId)}/send/m.room.message/${crypto.randomUUID()}`, content);
}

async function guardedRoom(owner: TestClient, options: object = {}): Promise<string> {
  const roomId = await owner.createRoom(options);
  const { public_keys } = (await request(guard, 'GET', '/.well-known/matrix/policy_server')).body;
  await owner.put(`${inRoom(roomId)}/state/m.room.policy/`, { via: guard.serverName, public_keys });
  return roomId;
}

test('users of two servers are refused by the rules of the policy server, and others signed', async () => {
  const [alice, bob] = [await register(guard), await register(fleet.at(1))];
  const roomId = await guardedRoom(alice);
  await bob.join(roomId, [guard.serverName]);
  for (const client of [alice, bob]) {
    const refused = await trySend(client, roomId, image);
    assert.deepEqual(
      [refused.status, refused.body],
      [400, { errcode: 'M_FORBIDDEN', error: 'Messages of this kind are not wanted in this room' }],
    );
    const { body } = await trySend(client, roomId, { msgtype: 'm.text', body: 'hello' });
    for (const server of fleet.servers) {
      await until(async () => (await loadEvent(server.ctx, body.event_id))?.status === 'accepted');
      assert.match((await loadEvent(server.ctx, body.event_id))?.event.json ?? '', /policy_server/);
    }
  }
});

test('of a room that begins with its policy server, what follows that is signed, or the room is not made', async () => {
  const alice = await register(guard);
  const { public_keys } = (await request(guard, 'GET', '/.well-known/matrix/policy_server')).body;
  const content = { via: guard.serverName, public_keys };
  const initial_state = [{ type: 'm.room.policy', content }];
  const roomId = await alice.createRoom({ name: 'Guarded', initial_state });
  const state: Body[] = await alice.get(`${inRoom(roomId)}/state`);
  const name = state.find(({ type }) => type === 'm.room.name');
  assert.match((await loadEvent(guard.ctx, name.event_id))?.event.json ?? '', /policy_server/);
  const unwanted = await register(guard, 'unwanted');
  const refused = await unwanted.try('POST', '/createRoom', { name: 'Guarded', initial_state });
  assert.deepEqual([refused.status, refused.body.errcode], [400, 'M_INVALID_ROOM_STATE']);
  assert.match(refused.body.error, /m\.room\.name.*not wanted/);
});

test('what is sent together with the event that names the policy server is signed by it', async () => {
  const alice = await register(guard);
  const roomId = await alice.createRoom();
  const { public_keys } = (await request(guard, 'GET', '/.well-known/matrix/policy_server')).body;
  const policy = { type: 'm.room.policy', stateKey: '', content: { via: guard.serverName, public_keys } };
  const message = { type: 'm.room.message', content: { msgtype: 'm.text', body: 'at once' } };
  const of = { roomId: roomId as RoomId, sender: alice.userId as UserId };
  const sent = await sendEvents(guard.ctx, of.roomId, [
    { ...of, ...policy },
    { ...of, ...message },
  ]);
  const [first, second] = sent.map((each) => (each.kind === 'sent' ? each.eventId : undefined));
  assert.ok(first !== undefined && second !== undefined, JSON.stringify(sent));
  assert.doesNotMatch((await loadEvent(guard.ctx, first))?.event.json ?? '', /policy_server":"/);
  assert.match((await loadEvent(guard.ctx, second))?.event.json ?? '', /ed25519:policy_server/);
});

test('the key of the policy server is none that the server publishes, and stays', async () => {
  const folder = await temporaryFolder();
  const key = async () => {
    await using server = await startServer({ policyServer: true, dataDir: folder.path });
    const { public_keys: keys } = (await request(server, 'GET', '/.well-known/matrix/policy_server')).body;
    assert.equal(JSON.stringify(server.ctx.signingKey.keyPair.publicKey).includes(keys.ed25519), false);
    return keys.ed25519;
  };
  assert.equal(await key(), await key());
  await folder[Symbol.asyncDispose]();
});

test('a server that is no policy server says so', async () => {
  await using server = await startServer();
  const { status, body } = await request(server, 'GET', '/.well-known/matrix/policy_server');
  assert.deepEqual([status, body.errcode], [404, 'M_NOT_FOUND']);
});

test('what is asked of the policy server that it does not judge', async () => {
  const alice = await register(guard);
  const roomId = await guardedRoom(alice);
  const other = await alice.createRoom();
  await using peer = await new RoomPeer(fleet.authority).start();
  const room = peer.makeRoom();
  const path = '/_matrix/policy/v1/sign';
  const ask = async (body: JsonObject) => {
    const answer = await peer.request(guard, { method: 'POST', path, body });
    return `${answer.status} ${answer.body.errcode}`;
  };
  const mallory = peer.user('mallory');
  const of = (
    pdu: JsonObject,
    options = { type: 'm.room.message', content: { body: 'x', msgtype: 'm.text' } },
  ) => room.draft(mallory, { ...options, pdu }).pdu;
  assert.equal(await ask(of({ room_id: other })), '404 M_NOT_FOUND');
  assert.equal(await ask(of({ room_id: '!unknown:x.test' })), '404 M_NOT_FOUND');
  assert.equal(await ask({ type: 'm.room.message' }), '400 M_BAD_JSON');
  assert.equal(await ask({ ...of({ room_id: roomId }), type: 7 }), '400 M_BAD_JSON');
  // Content that was put in place of what the hash is of.
  assert.equal(
    await ask({ ...of({ room_id: roomId }), content: { msgtype: 'm.text', body: 'another' } }),
    '400 M_BAD_JSON',
  );
  const policy = { type: 'm.room.policy', state_key: '', content: {} };
  assert.equal(await ask(room.draft(mallory, { ...policy, pdu: { room_id: roomId } }).pdu), '400 M_BAD_JSON');
  const { status, body } = await peer.request(guard, { method: 'POST', path, body: of({ room_id: roomId }) });
  assert.deepEqual([status, Object.keys(body[guard.serverName])], [200, ['ed25519:policy_server']]);
  await alice.put(`${inRoom(roomId)}/state/m.room.server_acl/`, { allow: [guard.serverName] });
  assert.equal(await ask(of({ room_id: roomId })), '403 M_FORBIDDEN');
});

const RULES: PolicyRulesConfig = {
  ...{ policyRooms: [], policyRefusedServers: [], policyRefusedUsers: [], policyRefusedTypes: [] },
  ...{
    policyRefusedMsgtypes: [],
    policyRefusedLinks: [],
    policyMaxEventSize: undefined,
    policyMaxMentions: undefined,
  },
};

function refuses(
  rules: Partial<PolicyRulesConfig>,
  given: { type?: string; sender?: UserId; stateKey?: string; content?: JsonObject },
): boolean {
  const {
    type = 'm.room.message',
    sender = '@a:good.test',
    stateKey,
    content = { msgtype: 'm.text', body: 'x' },
  } = given;
  const event = { type, sender, stateKey, content, json: JSON.stringify({ type, sender, content }) };
  return new PolicyRules({ ...RULES, ...rules }).refusalOf(event) !== undefined;
}

test('the rules: each refuses what it names, and nothing else', () => {
  const text = (body: string, more: JsonObject = {}) => ({ content: { msgtype: 'm.text', body, ...more } });
  type Case = [Partial<PolicyRulesConfig>, Parameters<typeof refuses>[1], boolean];
  const cases: Case[] = [
    [{}, {}, false],
    [{ policyRefusedServers: ['*.bad.test'] }, { sender: '@a:x.bad.test' }, true],
    [{ policyRefusedServers: ['*.bad.test'] }, {}, false],
    [{ policyRefusedServers: ['Bad.test'] }, { sender: '@a:BAD.test:8449' }, true],
    [{ policyRefusedServers: ['bad.test:8449'] }, { sender: '@a:bad.test:8449' }, true],
    [{ policyRefusedServers: ['bad.test:8449'] }, { sender: '@a:bad.test' }, false],
    [{ policyRefusedUsers: ['@spam*:*'] }, { sender: '@spammer:good.test' }, true],
    [{ policyRefusedTypes: ['m.sticker', 'org.*'] }, { type: 'org.example.x' }, true],
    [{ policyRefusedTypes: ['m.sticker'] }, {}, false],
    [{ policyRefusedMsgtypes: ['m.image'] }, { content: { msgtype: 'm.image', body: '' } }, true],
    [
      { policyRefusedMsgtypes: ['m.image'] },
      { content: { msgtype: 'm.text', 'm.new_content': { msgtype: 'm.image' } } },
      true,
    ],
    [{ policyRefusedLinks: ['*.bad.test'] }, text('see https://user@www.BAD.test:80/x'), true],
    [{ policyRefusedLinks: ['*.bad.test'] }, text('see https://www.good.test/www.bad.test'), false],
    [
      { policyRefusedLinks: ['bad.test'] },
      text('x', { formatted_body: '<a href="http://bad.test.">x</a>' }),
      true,
    ],
    ...['https:/bad.test', 'https:\\\\bad.test', 'https:bad.test/x', 'https:///u@bad.test'].map(
      (href): Case => [
        { policyRefusedLinks: ['bad.test'] },
        text('x', { formatted_body: `<a href="${href}">x</a>` }),
        true,
      ],
    ),
    [{ policyRefusedLinks: ['*'] }, text('no link: bad.test'), false],
    [{ policyRefusedLinks: ['none'] }, text('http://a '.repeat(101)), true],
    [{ policyMaxEventSize: 500 }, text('x'.repeat(500)), true],
    [{ policyMaxEventSize: 500 }, text('x'), false],
    [
      { policyMaxEventSize: 500 },
      { ...text('x'.repeat(500)), type: 'm.room.power_levels', stateKey: '' },
      false,
    ],
    [{ policyMaxMentions: 1 }, text('x', { 'm.mentions': { user_ids: ['@a:b', '@c:d'] } }), true],
    [{ policyMaxMentions: 1 }, text('x', { 'm.mentions': { user_ids: ['@a:b', '@a:b'] } }), false],
    [{ policyMaxMentions: 0 }, text('x', { 'm.mentions': 7 }), false],
  ];
  for (const [rules, event, expected] of cases)
    assert.equal(refuses(rules, event), expected, JSON.stringify([rules, event]));
});

test('whoever is refused may leave all the same', () => {
  const leave = { type: 'm.room.member', sender: '@spam:good.test', stateKey: '@spam:good.test' } as const;
  assert.equal(refuses({ policyRefusedUsers: ['*'] }, { ...leave, content: { membership: 'leave' } }), false);
  assert.equal(refuses({ policyRefusedUsers: ['*'] }, { ...leave, content: { membership: 'join' } }), true);
});

test('only the rooms that are listed are served, where some are', async () => {
  const rules = new PolicyRules({ ...RULES, policyRooms: ['!a:b.test'] });
  assert.deepEqual([rules.serves('!a:b.test'), rules.serves('!c:b.test')], [true, false]);
  await using server = await startServer({ policyServer: true, policyRooms: ['!a:b.test'] });
  const alice = await register(server);
  const { public_keys } = (await request(server, 'GET', '/.well-known/matrix/policy_server')).body;
  const roomId = await alice.createRoom();
  await alice.put(`${inRoom(roomId)}/state/m.room.policy/`, { via: server.serverName, public_keys });
  assert.equal((await trySend(alice, roomId, image)).status, 404);
});

test('the command shows the rules, and tries them on an event in a file', async () => {
  const { config } = guard.ctx;
  const shown = await showPolicy(config);
  assert.match(JSON.stringify(shown), /refused kinds of messages: m.image/);
  assert.match(JSON.stringify(shown), /public_keys/);
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'event.json');
  const tried = async (text: string) => {
    await writeFile(path, text);
    const outcome = await tryPolicy(config, path);
    return outcome.kind === 'done' ? outcome.isWrong === true : outcome.problem;
  };
  const event = { type: 'm.room.message', sender: '@a:b.test', content: image };
  assert.equal(await tried(JSON.stringify(event)), true);
  assert.equal(await tried(JSON.stringify({ ...event, content: { msgtype: 'm.text' } })), false);
  for (const text of ['{', '[]', '{}']) assert.match(String(await tried(text)), /is no event/);
});
