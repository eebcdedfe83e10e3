import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '#server/config.ts';
import { supportContactsKind } from '#server/support.ts';
import { request } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const PATH = '/.well-known/matrix/support';

test('who may be turned to is told, with the page that helps', async () => {
  const config = await loadConfig([], {
    KURIR_SUPPORT_CONTACTS: 'admin @anna:example.org anna@example.org, security security@example.org',
    KURIR_SUPPORT_PAGE: 'https://example.org/help?from=matrix',
  });
  const { supportContacts, supportPage } = config;
  await using server = await startServer({ supportContacts, supportPage });
  const { status, body, headers } = await request(server, 'GET', PATH);
  assert.equal(status, 200);
  assert.deepEqual(body, {
    contacts: [
      { role: 'm.role.admin', matrix_id: '@anna:example.org', email_address: 'anna@example.org' },
      { role: 'm.role.security', email_address: 'security@example.org' },
    ],
    support_page: 'https://example.org/help?from=matrix',
  });
  assert.equal(headers.get('access-control-allow-origin'), '*');
});

test('a page alone, and contacts alone, are told alone; where there is neither it is 404', async () => {
  const supportPage = 'https://example.org/help';
  await using withPage = await startServer({ supportPage });
  assert.deepEqual((await request(withPage, 'GET', PATH)).body, { support_page: supportPage });
  const supportContacts = supportContactsKind.parse(['org.example.press @press:example.org']);
  assert.ok(supportContacts);
  await using withContacts = await startServer({ supportContacts });
  const contacts = [{ role: 'org.example.press', matrix_id: '@press:example.org' }];
  assert.deepEqual((await request(withContacts, 'GET', PATH)).body, { contacts });
  await using withNone = await startServer();
  const { status, body } = await request(withNone, 'GET', PATH);
  assert.deepEqual([status, body.errcode], [404, 'M_NOT_FOUND']);
});

test('a contact has a role and one or two ways to reach it, and is written as it is read', () => {
  for (const bad of ['admin', 'boss x@y.z', 'admin x', 'admin a@b c@d', '@a:b admin', '', 7, [7], {}]) {
    assert.equal(supportContactsKind.parse(bad), undefined, JSON.stringify(bad));
  }
  const written = 'admin @a:b a@b.c,security s@b.c,org.example.press @p:b';
  const contacts = supportContactsKind.parse(written);
  assert.ok(contacts);
  assert.equal(supportContactsKind.format(contacts), written);
});

test('no policy server is told of', async () => {
  await using server = await startServer();
  const { status, body } = await request(server, 'GET', '/.well-known/matrix/policy_server');
  assert.deepEqual([status, body.errcode], [404, 'M_NOT_FOUND']);
});
