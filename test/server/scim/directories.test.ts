/**
 * What directories send, in their order, after their documentation: Entra ID
 * (learn.microsoft.com/entra/identity/app-provisioning/use-scim-to-provision-users-and-groups), Okta
 * (developer.okta.com/docs/api/openapi/okta-scim/guides/scim-20) and the SCIM clients of Keycloak.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, login } from '#test/harness/client.ts';
import { scim, startScimServer } from '#test/harness/scim.ts';

const USER = 'urn:ietf:params:scim:schemas:core:2.0:User';
const ENTERPRISE = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
const GROUP = 'urn:ietf:params:scim:schemas:core:2.0:Group';
const PATCH = 'urn:ietf:params:scim:api:messages:2.0:PatchOp';

test('Entra ID: looks a user up, makes it, changes it, disables it, brings it back, and deletes it', async () => {
  await using server = await startScimServer({ scimUserName: ['{localpart}@contoso.test'] });
  const ask = (method: string, path: string, body?: object) => scim(server, method, path, body);
  assert.equal((await ask('GET', '/Schemas')).status, 200);
  const probe = await ask('GET', '/Users?filter=userName+eq+%226f9e1a4e-non-existent-user%22');
  assert.deepEqual([probe.status, probe.body.totalResults, probe.body.Resources], [200, 0, []]);
  const made = await ask('POST', '/Users', {
    schemas: [USER, ENTERPRISE],
    externalId: '0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef',
    userName: 'Test_User_ab6490ee@contoso.test',
    active: true,
    displayName: 'Test User',
    addresses: [{ type: 'work', country: 'SE', primary: true }],
    emails: [{ primary: true, type: 'work', value: 'test_user@contoso.test' }],
    meta: { resourceType: 'User' },
    name: { formatted: 'givenName familyName', familyName: 'familyName', givenName: 'givenName' },
    phoneNumbers: [{ type: 'work', value: '+46' }],
    roles: [],
    title: 'Title',
    [ENTERPRISE]: { department: 'IT', manager: { value: 'x' } },
  });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const path = `/Users/${made.body.id}`;
  const again = await ask('POST', '/Users', { schemas: [USER], userName: 'test_user_AB6490EE@contoso.test' });
  assert.deepEqual([again.status, again.body.scimType], [409, 'uniqueness']);
  const found = await ask('GET', '/Users?filter=userName eq "Test_User_AB6490EE@contoso.test"');
  assert.deepEqual(
    found.body.Resources.map(({ id }: Body) => id),
    [made.body.id],
  );
  const byId = await ask('GET', '/Users?filter=externalId+eq+%220a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef%22');
  assert.equal(byId.body.totalResults, 1);
  const change = (...operations: readonly object[]) =>
    ask('PATCH', path, { schemas: [PATCH], Operations: operations });
  const several = await change(
    { op: 'Replace', path: 'emails[type eq "work"].value', value: 'updatedEmail@contoso.test' },
    { op: 'Replace', path: 'name.familyName', value: 'updatedFamilyName' },
    { op: 'Add', path: 'emails[type eq "other"].value', value: 'other@contoso.test' },
    { op: 'Add', path: `${ENTERPRISE}:department`, value: 'HR' },
    { op: 'Add', path: 'addresses[type eq "work"].locality', value: 'Solna' },
    { op: 'Remove', path: 'title' },
  );
  assert.equal(several.status, 200, JSON.stringify(several.body));
  assert.deepEqual(several.body.emails, [
    { primary: true, type: 'work', value: 'updatedEmail@contoso.test' },
    { type: 'other', value: 'other@contoso.test' },
  ]);
  const flat = await change({
    op: 'add',
    value: {
      displayName: 'Bjfe',
      'name.givenName': 'Kf',
      [`${ENTERPRISE}:employeeNumber`]: '7',
      active: 'True',
    },
  });
  assert.deepEqual([flat.status, flat.body.displayName, flat.body.name.givenName], [200, 'Bjfe', 'Kf']);
  const disabled = await change({ op: 'Replace', path: 'active', value: 'False' });
  assert.deepEqual([disabled.status, disabled.body.active], [200, false]);
  const back = await change({ op: 'Replace', path: 'active', value: true });
  assert.equal(back.body.active, true);
  assert.equal((await ask('DELETE', path)).status, 204);
  assert.equal((await ask('GET', path)).status, 404);
  assert.equal(
    (await ask('GET', '/Users?filter=userName+eq+%22test_user_ab6490ee@contoso.test%22')).body.totalResults,
    0,
  );
});

test('Entra ID: looks a group up, makes it without members, adds and removes them, and deletes it', async () => {
  await using server = await startScimServer();
  const ask = (method: string, path: string, body?: object) => scim(server, method, path, body);
  const { body: user } = await ask('POST', '/Users', { schemas: [USER], userName: 'anna' });
  const lookUp = '/Groups?excludedAttributes=members&filter=displayName+eq+%22displayName%22';
  assert.equal((await ask('GET', lookUp)).body.totalResults, 0);
  const made = await ask('POST', '/Groups', {
    schemas: [GROUP, 'http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group'],
    externalId: '8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159',
    displayName: 'displayName',
    meta: { resourceType: 'Group' },
  });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const path = `/Groups/${made.body.id}`;
  assert.equal((await ask('GET', lookUp)).body.totalResults, 1);
  const change = (operation: object) => ask('PATCH', path, { schemas: [PATCH], Operations: [operation] });
  assert.equal((await change({ op: 'Replace', path: 'displayName', value: 'New name' })).status, 204);
  const member = { value: user.id };
  assert.equal(
    (await change({ op: 'Add', path: 'members', value: [{ $ref: null, ...member }] })).status,
    204,
  );
  const isIn = `/Groups?excludedAttributes=members&filter=id+eq+%22${made.body.id}%22+and+members+eq+%22${user.id}%22`;
  assert.equal((await ask('GET', isIn)).body.totalResults, 1);
  assert.equal(
    (await change({ op: 'Remove', path: 'members', value: [{ $ref: null, ...member }] })).status,
    204,
  );
  assert.equal((await ask('GET', isIn)).body.totalResults, 0);
  assert.equal((await ask('GET', `${path}?excludedAttributes=members`)).body.displayName, 'New name');
  assert.equal((await ask('DELETE', path)).status, 204);
});

test('Okta: makes a user, updates it as a whole, and deactivates it by a value without a path', async () => {
  await using server = await startScimServer();
  const ask = (method: string, path: string, body?: object) => scim(server, method, path, body);
  const probe = await ask('GET', '/Users?filter=userName%20eq%20%22test.user%22&startIndex=1&count=100');
  assert.equal(probe.body.totalResults, 0);
  const user = {
    schemas: [USER],
    userName: 'test.user',
    name: { givenName: 'Test', familyName: 'User' },
    emails: [{ primary: true, value: 'test.user@okta.test', type: 'work' }],
    displayName: 'Test User',
    locale: 'en-US',
    externalId: '00ujl29u0le5T6Aj10h7',
    groups: [],
    password: '1mz050nq',
    active: true,
  };
  const made = await ask('POST', '/Users', user);
  assert.equal(made.status, 201, JSON.stringify(made.body));
  assert.equal(made.body.password, undefined);
  await login(server, 'test.user', '1mz050nq');
  const path = `/Users/${made.body.id}`;
  const { id, meta } = (await ask('GET', path)).body;
  const whole = {
    ...user,
    id,
    meta,
    name: { givenName: 'Another', familyName: 'User' },
    displayName: 'Another User',
  };
  const put = await ask('PUT', path, whole);
  assert.deepEqual(
    [put.status, put.body.displayName, put.body.name.givenName],
    [200, 'Another User', 'Another'],
  );
  const off = { schemas: [PATCH], Operations: [{ op: 'replace', value: { active: false } }] };
  assert.deepEqual((await ask('PATCH', path, off)).body.active, false);
  const on = { schemas: [PATCH], Operations: [{ op: 'replace', value: { active: true } }] };
  assert.deepEqual((await ask('PATCH', path, on)).body.active, true);
});

test('Okta: pushes a group, renames it, and changes its members', async () => {
  await using server = await startScimServer();
  const ask = (method: string, path: string, body?: object) => scim(server, method, path, body);
  const users = [];
  for (const userName of ['anna', 'bo'])
    users.push((await ask('POST', '/Users', { schemas: [USER], userName })).body);
  const [anna, bo] = users;
  assert.equal((await ask('GET', '/Groups?startIndex=1&count=100')).body.totalResults, 0);
  const made = await ask('POST', '/Groups', { schemas: [GROUP], displayName: 'Test SCIMv2', members: [] });
  const path = `/Groups/${made.body.id}`;
  const change = (...operations: readonly object[]) =>
    ask('PATCH', path, { schemas: [PATCH], Operations: operations });
  const renamed = { id: made.body.id, displayName: 'Renamed' };
  assert.equal((await change({ op: 'replace', value: renamed })).status, 204);
  const member = (user: Body) => ({ value: user.id, display: user.userName });
  assert.equal((await change({ op: 'add', path: 'members', value: [member(anna), member(bo)] })).status, 204);
  const swap = await change(
    { op: 'remove', path: `members[value eq "${anna.id}"]` },
    { op: 'add', path: 'members', value: [member(bo)] },
  );
  assert.equal(swap.status, 204);
  const whole = { schemas: [GROUP], id: made.body.id, displayName: 'Renamed', members: [member(anna)] };
  const put = await ask('PUT', path, whole);
  assert.deepEqual([put.status, put.body.members.map(({ value }: Body) => value)], [200, [anna.id]]);
  assert.equal((await ask('DELETE', path)).status, 204);
});

test('Keycloak: imports by pages and external ids, and sends whole resources', async () => {
  await using server = await startScimServer();
  const ask = (method: string, path: string, body?: object) => scim(server, method, path, body);
  const user = {
    schemas: [USER],
    externalId: 'kc-1',
    userName: 'anna',
    active: true,
    name: { givenName: 'Anna' },
  };
  const made = await ask('POST', '/Users', { ...user, emails: [{ value: 'anna@kc.test', primary: true }] });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const search = {
    schemas: ['urn:ietf:params:scim:api:messages:2.0:SearchRequest'],
    startIndex: 1,
    count: 50,
  };
  const found = await ask('POST', '/Users/.search', { ...search, filter: 'externalId eq "kc-1"' });
  assert.deepEqual([found.body.totalResults, found.body.Resources[0].id], [1, made.body.id]);
  const group = { schemas: [GROUP], externalId: 'kc-g', displayName: 'Staff' };
  const members = [{ value: made.body.id, $ref: `Users/${made.body.id}`, type: 'User' }];
  const { body } = await ask('POST', '/Groups', { ...group, members });
  const put = await ask('PUT', `/Groups/${body.id}`, { ...group, id: body.id, members: [] });
  assert.deepEqual([put.status, put.body.members], [200, undefined]);
  const off = await ask('PUT', `/Users/${made.body.id}`, { ...user, id: made.body.id, active: false });
  assert.deepEqual([off.status, off.body.active, off.body.emails], [200, false, undefined]);
});
