/** What SCIM refuses, in the form of RFC 7644 section 3.12, and that nothing is lost by it. */

import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { register, request } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { clientRoutes, pathOf } from '#test/harness/routes.ts';
import {
  patchOf,
  SCIM_TOKEN,
  scim,
  scimGroup,
  scimOk,
  scimUser,
  startScimServer,
} from '#test/harness/scim.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const ERROR = 'urn:ietf:params:scim:api:messages:2.0:Error';

test('without a token of the operator there is no SCIM', async () => {
  await using server = await startServer();
  const answer = await request(server, 'GET', '/scim/v2/Users', { token: SCIM_TOKEN });
  assert.deepEqual([answer.status, answer.body.errcode], [404, 'M_UNRECOGNIZED']);
});

test('RFC 7644 2: every route wants the token, and no token is in the log', async () => {
  const lines: string[] = [];
  await using server = await startScimServer({ logTo: (line) => lines.push(line) });
  const alice = await register(server, 'alice');
  const routes = (await clientRoutes(server)).filter(({ url }) => url.startsWith('/scim/v2'));
  assert.ok(routes.length > 20, `${routes.length} routes`);
  for (const route of [...routes, { method: 'GET', url: '/scim/v2/nothing' }]) {
    for (const token of [undefined, alice.accessToken, `${SCIM_TOKEN}x`, SCIM_TOKEN.slice(0, -1)]) {
      const { status, headers, body } = await bare(server, route.method, pathOf(route, { id: 'x' }), token);
      assert.equal(status, 401, `${route.method} ${route.url}`);
      assert.equal(headers.get('www-authenticate'), 'Bearer realm="scim"');
      assert.deepEqual([body.schemas, body.status], [[ERROR], '401']);
    }
  }
  await scimUser(server, 'anna', { password: 'a secret password' });
  assert.equal((await scim(server, 'GET', `/Users?filter=${SCIM_TOKEN}`)).status, 400);
  assert.ok(lines.length > 0);
  for (const line of lines) assert.doesNotMatch(line, /the-token-of-the-directory|a secret password/);
});

test('several tokens are good at a time, and those of a file from when it is written', async () => {
  await using folder = await temporaryFolder();
  const file = path.join(folder.path, 'tokens');
  await using server = await startServer({ scimToken: ['first-token-of-many'], scimTokenFile: file });
  const status = async (token: string) => (await bare(server, 'GET', '/scim/v2/Users', token)).status;
  assert.deepEqual([await status('first-token-of-many'), await status('token-of-the-file-1')], [200, 401]);
  await writeFile(file, 'token-of-the-file-1\n  token-of-the-file-2  \nshort\n');
  const tokens = ['first-token-of-many', 'token-of-the-file-1', 'token-of-the-file-2', 'short', ''];
  assert.deepEqual(await Promise.all(tokens.map(status)), [200, 200, 200, 401, 401]);
  await rm(file);
  assert.deepEqual(await Promise.all(tokens.map(status)), [200, 401, 401, 401, 401]);
});

test('who tries many tokens is told to wait', async () => {
  await using server = await startScimServer({ rateLimits: true });
  const statuses: number[] = [];
  for (let count = 0; count < 12; count++) {
    statuses.push((await bare(server, 'GET', '/scim/v2/Users', `guess-${count}`)).status);
  }
  assert.deepEqual([statuses[0], statuses.at(-1)], [401, 429]);
});

test('RFC 7644 3.12: what is wrong is told in its form', async () => {
  await using server = await startScimServer();
  const { id } = await scimUser(server, 'anna', { displayName: 'Anna' });
  const group = await scimGroup(server, 'Staff');
  const filter = (text: string) => `filter=${encodeURIComponent(text)}`;
  const cases: readonly [string, string, unknown, number, string?][] = [
    ['POST', '/Users', '{', 400, 'invalidSyntax'],
    ['POST', '/Users', '[]', 400, 'invalidSyntax'],
    ['POST', '/Users', undefined, 400, 'invalidSyntax'],
    ['POST', '/Users', {}, 400, 'invalidValue'],
    ['POST', '/Users', { userName: 7 }, 400, 'invalidValue'],
    ['POST', '/Users', { userName: '' }, 400, 'invalidValue'],
    ['POST', '/Users', { userName: 'not a name' }, 400, 'invalidValue'],
    ['POST', '/Users', { userName: 'å' }, 400, 'invalidValue'],
    ['POST', '/Users', { userName: 'a\u0000b' }, 400, 'invalidValue'],
    ['POST', '/Users', { userName: 'x'.repeat(300) }, 400, 'invalidValue'],
    ['POST', '/Users', { userName: 'bo', active: 1 }, 400, 'invalidValue'],
    ['POST', '/Users', { userName: 'bo', password: 'x'.repeat(600) }, 400, 'invalidValue'],
    ['POST', '/Users', { userName: 'bo', displayName: 'x'.repeat(300) }, 400, 'invalidValue'],
    ['POST', '/Users', { userName: 'bo', schemas: ['urn:other'] }, 400, 'invalidValue'],
    ['POST', '/Users', `{"userName":"bo","x":"${'x'.repeat(3_000_000)}"}`, 413],
    ['GET', '/Users/nobody', undefined, 404],
    ['PUT', '/Users/nobody', { userName: 'bo' }, 404],
    ['PATCH', '/Users/nobody', patchOf({ op: 'remove', path: 'name' }), 404],
    ['DELETE', '/Users/nobody', undefined, 404],
    ['PUT', `/Users/${id}`, {}, 400, 'invalidValue'],
    ['PATCH', `/Users/${id}`, {}, 400, 'invalidSyntax'],
    ['PATCH', `/Users/${id}`, patchOf({ op: 'remove', path: 'userName' }), 400, 'mutability'],
    [
      'PATCH',
      `/Users/${id}`,
      patchOf({ op: 'replace', path: 'userName', value: 'a\nb' }),
      400,
      'invalidValue',
    ],
    ['GET', `/Users?${filter('userName')}`, undefined, 400, 'invalidFilter'],
    ['GET', '/Users?startIndex=one', undefined, 400, 'invalidValue'],
    ['GET', '/Users?count=many', undefined, 400, 'invalidValue'],
    ['GET', '/Users?attributes=a..b', undefined, 400, 'invalidValue'],
    ['POST', '/Users/.search', { filter: 7 }, 400, 'invalidValue'],
    ['POST', '/.search', '[1]', 400, 'invalidSyntax'],
    ['POST', '/Groups', {}, 400, 'invalidValue'],
    ['POST', '/Groups', { displayName: 'x', members: [{ value: 'nobody' }] }, 400, 'invalidValue'],
    ['POST', '/Groups', { displayName: 'x', members: [{}] }, 400, 'invalidValue'],
    [
      'POST',
      '/Groups',
      { displayName: 'x', members: [{ value: group.id, type: 'Group' }] },
      400,
      'invalidValue',
    ],
    ['PUT', `/Groups/${group.id}`, { displayName: 'a\u0007' }, 400, 'invalidValue'],
    [
      'PATCH',
      `/Groups/${group.id}`,
      patchOf({ op: 'add', path: 'members', value: [7] }),
      400,
      'invalidValue',
    ],
    [
      'PATCH',
      `/Groups/${group.id}`,
      patchOf({ op: 'add', path: 'members.value', value: id }),
      400,
      'invalidPath',
    ],
    ['PATCH', `/Groups/${group.id}`, patchOf({ op: 'remove', path: 'displayName' }), 400, 'mutability'],
    [
      ...(['PATCH', `/Groups/${group.id}`] as const),
      patchOf({ op: 'add', path: 'members', value: Array.from({ length: 10_001 }, () => ({ value: id })) }),
      413,
    ],
    ['GET', '/Groups/nothing', undefined, 404],
    ['GET', `/Groups/${encodeURIComponent('\u0000')}`, undefined, 404],
    ['DELETE', '/Groups/nothing', undefined, 404],
    ['GET', '/Schemas/urn:nothing', undefined, 404],
    ['GET', '/nothing', undefined, 404],
    ['DELETE', '/Users', undefined, 405],
    ['POST', `/Users/${id}`, {}, 405],
    ['PUT', '/ServiceProviderConfig', {}, 405],
    ['POST', '/Bulk', {}, 501],
    ['GET', '/Me', undefined, 501],
  ];
  for (const [method, route, body, status, scimType] of cases) {
    const answer = await scim(server, method, route, body);
    const what = `${method} ${route} ${JSON.stringify(body)?.slice(0, 80)}`;
    assert.deepEqual(
      [answer.status, answer.body.schemas, answer.body.scimType],
      [status, [ERROR], scimType],
      what,
    );
    assert.equal(answer.body.status, String(status), what);
    assert.equal(answer.headers.get('content-type'), 'application/scim+json', what);
  }
  const users = await scimOk(server, 'GET', '/Users');
  assert.deepEqual(
    [users.totalResults, users.Resources[0].displayName, users.Resources[0].meta.version],
    [...[1, 'Anna', 'W/"1"']],
  );
  assert.equal((await scimOk(server, 'GET', '/Groups')).totalResults, 1);
});

/** A request with a token of the test's own. */
async function bare(server: TestServer, method: string, address: string, token: string | undefined) {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(`${server.clientUrl}${address}`, { method, headers });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? undefined : JSON.parse(text),
  };
}
