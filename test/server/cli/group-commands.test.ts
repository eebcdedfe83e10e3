/** The operator's commands for groups and their rooms, as processes, beside a server that runs or does not. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { type Ended, run, serverEnvironment, startProcess } from '#test/harness/process.ts';
import { patchOf, SCIM_TOKEN, scim, scimGroup, scimUser } from '#test/harness/scim.ts';
import { until } from '#test/harness/until.ts';

async function kurir(dataDir: string, ...words: string[]): Promise<Ended> {
  return await run('server/kurir.ts', words, { env: serverEnvironment(dataDir) });
}

test('group bind, list, status and unbind, while the server runs and while it does not', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open', KURIR_SCIM_TOKEN: SCIM_TOKEN };
  await using first = await startProcess(env);
  const group = (...words: string[]) => kurir(folder.path, 'group', ...words);
  assert.equal((await group('list')).out, 'No groups yet: the directory makes them, by SCIM.\n');
  const admin = await register(first, 'admin');
  const room = await admin.createRoom({ preset: 'private_chat', room_alias_name: 'staff' });
  const other = await admin.createRoom({ preset: 'private_chat' });
  const anna = await scimUser(first, 'anna');
  const staff = await scimGroup(first, 'All staff', [anna]);
  const twins = [await scimGroup(first, 'Twin'), await scimGroup(first, 'twin')];
  const bound = await group('bind', 'all STAFF', '#staff:localhost', '--power', '50');
  assert.equal(bound.code, 0, bound.err);
  assert.match(bound.out, /The members of "All staff" come into !\S+, with power 50\. "group status" shows/);
  const isIn = async (name: string, where: string) => {
    const { joined } = await admin.get(`${inRoom(where)}/joined_members`);
    return Object.hasOwn(joined, `@${name}:localhost`);
  };
  await until(() => isIn('anna', room), 'that she comes in');
  assert.deepEqual((await group('list')).out.trimEnd().split('\n'), [
    `${staff.id}  1 members  "All staff"`,
    `    ${room}, with power 50`,
    ...twins.map(({ id, displayName }) => `${id}  0 members  "${displayName}"`),
  ]);
  await until(async () => /All rooms are/.test((await group('status')).out), 'that all is done');
  const refusals: readonly [string[], RegExp, number][] = [
    [['bind', 'nobody', room], /there is no group "nobody"/, 1],
    [['bind', 'twin', room], /several groups are named "twin": give the id/, 1],
    [['bind', staff.id, '!nothing:localhost'], /does not know the room/, 1],
    [['bind', staff.id, 'nothing'], /neither a room id/, 1],
    [['bind', staff.id, room, '--power', '101'], /the power must be from 1 to 100/, 1],
    [['bind', staff.id, room, '--power', 'much'], /--power much is no number/, 2],
    [['bind', staff.id], /the room is missing/, 2],
    [['unbind', staff.id, other], /is not bound to/, 1],
    [['list', 'all'], /"all" is too much/, 2],
  ];
  for (const [words, problem, code] of refusals) {
    const refused = await group(...words);
    assert.deepEqual([refused.code, refused.out], [code, ''], words.join(' '));
    assert.match(refused.err, problem);
  }
  await first.stop();

  const later = await group('bind', staff.id, other);
  assert.match(later.out, /come into !\S+\. It is done when the server starts\./);
  assert.match(
    (await group('status')).out,
    /3 groups, bound to rooms 2 times\.\n1 rooms are still to be looked at/,
  );
  assert.equal((await group('unbind', staff.id, room)).code, 0);
  await using second = await startProcess(env);
  Object.assign(admin, { server: second });
  await until(() => isIn('anna', other), 'that she comes in after the start');
  await scim(second, 'PATCH', `/Groups/${staff.id}`, patchOf({ op: 'remove', path: 'members' }));
  await until(async () => !(await isIn('anna', other)), 'that she is put out');
  assert.equal(await isIn('anna', room), true, 'the room that was let go keeps her');
});

test('group status says where something cannot be done, and ends with 1', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open', KURIR_SCIM_TOKEN: SCIM_TOKEN };
  await using server = await startProcess(env);
  const admin = await register(server, 'admin');
  const room = await admin.createRoom({ preset: 'private_chat' });
  await admin.post(`${inRoom(room)}/leave`);
  const staff = await scimGroup(server, 'Staff', [await scimUser(server, 'anna')]);
  assert.equal((await kurir(folder.path, 'group', 'bind', staff.id, room)).code, 0);
  await until(async () => (await kurir(folder.path, 'group', 'status')).code === 1, 'that it is shown');
  const { out } = await kurir(folder.path, 'group', 'status');
  assert.match(
    out,
    /^!\S+: nobody of this server is in the room \(tried \d+ times, again in \d+ minutes\)$/m,
  );
});
