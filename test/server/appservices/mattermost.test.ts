/** The bridge plugin of Mattermost: its registration as it writes it, and all that it calls, in its order. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, request } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { startService } from '#test/harness/service.ts';
import { addService } from '#test/harness/service-server.ts';

const NAMESPACES = {
  users: [{ exclusive: true, regex: '@_mattermost_.*:kurir.test' }],
  aliases: [
    { exclusive: true, regex: '#_mattermost_.*:kurir.test' },
    { exclusive: false, regex: '#mattermost-bridge-.*:kurir.test' },
  ],
  rooms: [{ exclusive: false, regex: '!.*:kurir.test' }],
};

test('a bridge as Mattermost’s goes its whole way: users, rooms, messages, edits, reactions, redactions and files', async () => {
  await using server = await startServer();
  await using plugin = await startService({
    id: 'mattermost',
    namespaces: NAMESPACES,
    registration: {
      sender_localpart: '_mattermost_bridge',
      rate_limited: false,
      protocols: ['mattermost'],
      'de.sorunome.msc2409.push_ephemeral': true,
      permissions: ['room.create', 'user.masquerade'],
    },
  });
  await addService(server, plugin);
  const bot = '@_mattermost_bridge:kurir.test';
  const call = (method: string, path: string, as?: string, body?: unknown): Promise<Body> =>
    plugin.do(server, method, path, { ...(as !== undefined && { as }), ...(body !== undefined && { body }) });

  // The test of its connection.
  await call('GET', '/_matrix/client/versions');
  assert.equal((await call('GET', '/account/whoami')).user_id, bot);
  const federation = await request(server, 'GET', '/_matrix/federation/v1/version');
  assert.equal(federation.body.server.name, 'Kurir');
  const probe = await plugin.try(
    server,
    'GET',
    `/profile/${encodeURIComponent('@_mattermost_probe:kurir.test')}`,
  );
  assert.deepEqual(
    [probe.status, probe.body.errcode],
    [404, 'M_NOT_FOUND'],
    '403 would be told as a wrong set-up',
  );

  const { user_id: ghost } = await call('POST', '/register', undefined, {
    type: 'm.login.application_service',
    username: '_mattermost_alice',
  });
  await call('PUT', `/profile/${encodeURIComponent(ghost)}/displayname`, ghost, {
    displayname: 'Alice (Mattermost)',
  });
  const picture = await upload(server.clientUrl, plugin.asToken, ghost);
  await call('PUT', `/profile/${encodeURIComponent(ghost)}/avatar_url`, ghost, { avatar_url: picture });

  const { room_id: roomId } = await call('POST', '/createRoom', undefined, {
    room_version: '10',
    preset: 'public_chat',
    visibility: 'public',
    name: 'Town Square',
    room_alias_name: '_mattermost_town-square',
    initial_state: [
      { type: 'com.mattermost.bridge.channel', state_key: '', content: { channel_id: 'c1' } },
      { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'world_readable' } },
      { type: 'm.room.guest_access', state_key: '', content: { guest_access: 'can_join' } },
    ],
  });
  const room = `/rooms/${encodeURIComponent(roomId)}`;
  await call('PUT', `${room}/state/m.room.join_rules`, undefined, { join_rule: 'public' });
  const second = encodeURIComponent('#mattermost-bridge-town-square:kurir.test');
  await call('PUT', `/directory/room/${second}`, undefined, { room_id: roomId });
  assert.equal((await call('GET', `/directory/room/${second}`)).room_id, roomId);
  await call('PUT', `/directory/list/room/${encodeURIComponent(roomId)}`, undefined, {
    visibility: 'public',
  });
  await call('POST', `${room}/invite`, undefined, { user_id: ghost });
  await call('POST', `/join/${encodeURIComponent(roomId)}`, ghost, {});

  // From Mattermost.
  const content = { msgtype: 'm.text', body: 'hello', 'com.mattermost.post_id': 'p1' };
  const { event_id: hello } = await call('PUT', `${room}/send/m.room.message/mm1`, ghost, content);
  const again = await call('PUT', `${room}/send/m.room.message/mm1`, ghost, content);
  assert.equal(again.event_id, hello);
  await call('PUT', `${room}/send/m.room.message/mm2`, ghost, {
    msgtype: 'm.text',
    body: '* hello!',
    'm.new_content': { msgtype: 'm.text', body: 'hello!' },
    'm.relates_to': { rel_type: 'm.replace', event_id: hello },
  });
  await call('PUT', `${room}/send/m.reaction/mm3`, ghost, {
    'm.relates_to': { rel_type: 'm.annotation', event_id: hello, key: '👍' },
  });
  const file = await upload(server.clientUrl, plugin.asToken, ghost);
  await call('PUT', `${room}/send/m.room.message/mm4`, ghost, {
    msgtype: 'm.file',
    body: 'a.txt',
    url: file,
  });
  assert.equal(
    (await call('GET', `${room}/event/${encodeURIComponent(hello)}`)).content['com.mattermost.post_id'],
    'p1',
  );
  const relations = `/_matrix/client/v1${room}/relations/${encodeURIComponent(hello)}`;
  assert.equal((await call('GET', `${relations}/m.annotation`, ghost)).chunk.length, 1);
  await call('PUT', `${room}/redact/${encodeURIComponent(hello)}/mm5`, ghost, { reason: 'deleted' });

  // From Matrix.
  const carol = await register(server, 'carol');
  await carol.join(roomId);
  const said = await carol.send(roomId, 'hello Mattermost');
  const edit = await carol.sendEvent(roomId, 'm.room.message', {
    msgtype: 'm.text',
    body: '* hello all',
    'm.new_content': { msgtype: 'm.text', body: 'hello all' },
    'm.relates_to': { rel_type: 'm.replace', event_id: said },
  });
  const reaction = await carol.sendEvent(roomId, 'm.reaction', {
    'm.relates_to': { rel_type: 'm.annotation', event_id: said, key: '👍' },
  });
  const media = await upload(server.clientUrl, carol.accessToken);
  const shared = await carol.sendEvent(roomId, 'm.room.message', {
    msgtype: 'm.file',
    body: 'b.txt',
    url: media,
  });
  const path = `/_matrix/client/v1/media/download/${media.slice('mxc://'.length)}`;
  assert.equal(await call('GET', path), 'a file');
  const { event_id: redaction } = await carol.put(`${room}/redact/${encodeURIComponent(said)}/t1`, {});
  const told = await plugin.untilTold(redaction);
  assert.equal(told.content.redacts, said);
  const ids = plugin.events.filter(({ sender }) => sender === carol.userId).map(({ event_id: id }) => id);
  assert.deepEqual(ids.slice(1), [said, edit, reaction, shared, redaction]);
  assert.ok(plugin.requests.every(({ authorization }) => authorization === `Bearer ${plugin.hsToken}`));
});

/** Uploads a text; answers its address. */
async function upload(clientUrl: string, token: string, as?: string): Promise<string> {
  const user = as === undefined ? '' : `&user_id=${encodeURIComponent(as)}`;
  const response = await fetch(`${clientUrl}/_matrix/media/v3/upload?filename=a.txt${user}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'text/plain' },
    body: 'a file',
  });
  const { content_uri: uri } = (await response.json()) as { content_uri: string };
  assert.equal(response.status, 200);
  return uri;
}
