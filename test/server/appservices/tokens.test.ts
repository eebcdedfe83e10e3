/** https://spec.matrix.org/v1.19/application-service-api/#registration: "as_token", "hs_token" */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { register, request } from '#test/harness/client.ts';
import { startService } from '#test/harness/service.ts';
import { startWithService } from '#test/harness/service-server.ts';
import { askedByTest } from '#test/harness/spec/watch.ts';

const FREE = { federation: true, publicRooms: true, maxMembers: undefined };

test('row 122: a service whose as_token is the access token of a user is refused, and the user stays who it is', async () => {
  await using both = await startWithService();
  const { server } = both;
  const alice = await register(server, 'alice');
  await using thief = await startService({
    id: 'thief',
    namespaces: { users: [{ regex: '@_thief_.*', exclusive: true }] },
    registration: { as_token: alice.accessToken },
  });
  const added = await server.ctx.appservices.add(thief.yaml, FREE);
  assert.deepEqual(added, { kind: 'refused', reason: 'its as_token is the access token of a user' });
  assert.equal((await alice.get('/account/whoami')).user_id, alice.userId);
  assert.equal(server.ctx.appservices.all().length, 1);
});

test('row 156: one token for both directions is refused', async () => {
  await using both = await startWithService();
  await using careless = await startService({
    id: 'careless',
    namespaces: { users: [{ regex: '@_careless_.*', exclusive: true }] },
    registration: { as_token: 'the_same', hs_token: 'the_same' },
  });
  const added = await both.server.ctx.appservices.add(careless.yaml, FREE);
  assert.equal(added.kind, 'refused');
});

test("row 156: the hs_token is nobody's here, a user's token is no service's, and another service's is not this one's", async () => {
  await using both = await startWithService();
  const { server, service } = both;
  const alice = await register(server, 'alice');
  await using other = await startService({
    id: 'other',
    namespaces: { users: [{ regex: '@_other_.*', exclusive: true }] },
  });
  assert.equal((await server.ctx.appservices.add(other.yaml, FREE)).kind, 'added');
  const path = `/_matrix/client/v1/appservice/${service.id}/ping`;
  // By the test: the server itself asks nobody with its token here.
  const ping = (token: string) => askedByTest(() => request(server, 'POST', path, { token, body: {} }));
  const refused: [whose: string, token: string, status: number, errcode: string][] = [
    ["the server's", service.hsToken, 401, 'M_UNKNOWN_TOKEN'],
    ["a user's", alice.accessToken, 403, 'M_FORBIDDEN'],
    ["another's", other.asToken, 403, 'M_FORBIDDEN'],
  ];
  for (const [whose, token, status, errcode] of refused) {
    const answer = await ping(token);
    assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], whose);
  }
  service.answer = () => ({ json: {} });
  assert.equal((await ping(service.asToken)).status, 200);
  // What the server says to it carries the one, and never the other.
  const told = service.requests.map(({ authorization }) => authorization);
  assert.deepEqual(new Set(told), new Set([`Bearer ${service.hsToken}`]));
  assert.ok(!JSON.stringify(service.requests).includes(service.asToken));
});
