/** Invitations by e-mail address, and addresses that are bound and unbound, by a real Sydent. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { inRoom, untilInvited, untilMember } from '#test/harness/conversation.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startMailServer } from '#test/harness/mail-server.ts';
import { Sydent } from './sydent.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const names: string[] = [];
const fleet = resources.use(await startFleet(2, { identityServers: names }));
const mail = resources.use(await startMailServer());
const folder = resources.use(await temporaryFolder());
const { authority } = fleet;
const sydent = resources.use(await Sydent.start({ folder: folder.path, authority, smtpPort: mail.port }));
names.push(sydent.name);
const alice = await register(fleet.at(0), 'alice');
await alice.put(`/profile/${encodeURIComponent(alice.userId)}/displayname`, { displayname: 'Alice' });

/** What a client says to its server of the identity server. */
async function access(user: TestClient): Promise<{ id_server: string; id_access_token: string }> {
  const openid = await user.post(`/user/${encodeURIComponent(user.userId)}/openid/request_token`);
  const { status, body } = await sydent.ask('POST', '/v2/account/register', openid);
  assert.equal(status, 200, JSON.stringify(body));
  return { id_server: sydent.name, id_access_token: body.token };
}

/** Proves an address at the identity server, and has it bound. */
async function bind(user: TestClient, address: string): Promise<void> {
  const given = await access(user);
  const secret = `secret_of_${user.deviceId}`;
  const asked = { client_secret: secret, email: address, send_attempt: 1 };
  const begun = await sydent.ask('POST', '/v2/validate/email/requestToken', asked, given.id_access_token);
  assert.equal(begun.status, 200, JSON.stringify(begun.body));
  const { sid } = begun.body;
  const token = /The token is (\w+)/.exec(mail.last.body)?.[1];
  const said = { sid, client_secret: secret, token };
  const proved = await sydent.ask('POST', '/v2/validate/email/submitToken', said, given.id_access_token);
  assert.equal(proved.body.success, true, JSON.stringify(proved.body));
  await user.post('/account/3pid/bind', { ...given, sid, client_secret: secret });
}

for (const place of [0, 1]) {
  test(`who is invited by address and binds it at Sydent joins: a user of server ${place}`, async () => {
    const bob = await register(fleet.at(place));
    const address = `bob${place}@example.org`;
    const roomId = await alice.createRoom({ preset: 'private_chat', name: 'Plans' });
    const body = { ...(await access(alice)), medium: 'email', address };
    await alice.post(`${inRoom(roomId)}/invite`, body);
    assert.deepEqual(mail.last.to, [address]);
    assert.match(mail.last.body, /Alice invites you to Plans/);
    await bind(bob, address);
    const state = await untilInvited(bob, roomId);
    const member = state.find(({ state_key: key }: Body) => key === bob.userId);
    assert.equal(member.content.third_party_invite.display_name, 'bob...@exa...');
    await bob.join(roomId);
    await untilMember(alice, roomId, bob.userId, 'join');

    // Now that it is known whose the address is, they are invited at once.
    const other = await alice.createRoom({ preset: 'private_chat' });
    await alice.post(`${inRoom(other)}/invite`, body);
    await untilInvited(bob, other);

    const unbound = await bob.post('/account/3pid/unbind', { medium: 'email', address });
    assert.deepEqual(unbound, { id_server_unbind_result: 'success' });
    const letters = mail.letters.length;
    await alice.post(`${inRoom(other)}/invite`, { ...body, ...(await access(alice)) });
    assert.equal(mail.letters.length, letters + 1, "it is nobody's again");
  });
}

test('what Sydent refuses is told by its words', async () => {
  const roomId = await alice.createRoom();
  const body = { id_server: sydent.name, id_access_token: 'none', medium: 'email', address: 'x@example.org' };
  const { status, body: said } = await alice.try('POST', `${inRoom(roomId)}/invite`, body);
  assert.deepEqual([status, said.errcode], [403, 'M_UNAUTHORIZED']);
});
