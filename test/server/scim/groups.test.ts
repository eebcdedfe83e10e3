/** Groups that a directory keeps by SCIM, and lists: RFC 7643 section 4.2, RFC 7644 sections 3.4 and 3.5. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Body } from '#test/harness/client.ts';
import { patchOf, scim, scimGroup, scimOk, scimUser, startScimServer } from '#test/harness/scim.ts';

function idsOf(group: Body): string[] {
  return (group.members ?? []).map(({ value }: Body) => value);
}

test('RFC 7643 4.2: a group says who is in it, and each user in which groups', async () => {
  await using server = await startScimServer();
  const [anna, bo] = [await scimUser(server, 'anna'), await scimUser(server, 'bo')];
  const group = await scimGroup(server, 'Staff', [anna, bo]);
  assert.deepEqual(group.members, [
    { value: anna.id, $ref: anna.meta.location, type: 'User' },
    { value: bo.id, $ref: bo.meta.location, type: 'User' },
  ]);
  assert.deepEqual((await scimOk(server, 'GET', `/Users/${anna.id}`)).groups, [
    { value: group.id, $ref: group.meta.location, display: 'Staff', type: 'direct' },
  ]);
  assert.equal((await scim(server, 'DELETE', `/Users/${bo.id}`)).status, 204);
  assert.deepEqual(idsOf(await scimOk(server, 'GET', `/Groups/${group.id}`)), [anna.id]);
  assert.equal((await scim(server, 'DELETE', `/Groups/${group.id}`)).status, 204);
  assert.equal((await scim(server, 'GET', `/Groups/${group.id}`)).status, 404);
  assert.equal((await scimOk(server, 'GET', `/Users/${anna.id}`)).groups, undefined);
});

test('RFC 7644 3.5.2: members are added, removed and replaced, in every form that directories send', async () => {
  await using server = await startScimServer();
  const users = [];
  for (const name of ['anna', 'bo', 'cia', 'dag']) users.push(await scimUser(server, name));
  const [a, b, c, d] = users.map(({ id }) => id);
  const { id } = await scimGroup(server, 'Staff');
  const path = `/Groups/${id}`;
  const value = (...ids: (string | undefined)[]) => ids.map((each) => ({ value: each }));
  const steps: readonly [object, (string | undefined)[]][] = [
    [{ op: 'Add', path: 'members', value: value(a, b) }, [a, b]],
    [{ op: 'add', path: 'members', value: value(b) }, [a, b]],
    [{ op: 'add', value: { members: value(c) } }, [a, b, c]],
    [{ op: 'add', path: 'members', value: { value: d } }, [a, b, c, d]],
    [{ op: 'remove', path: `members[value eq "${b}"]` }, [a, c, d]],
    [{ op: 'Remove', path: 'members', value: value(c) }, [a, d]],
    [{ op: 'remove', path: `members[value eq "${a}" or value eq "${c}"]` }, [d]],
    [{ op: 'remove', path: 'members[value eq "nobody"]' }, [d]],
    [{ op: 'replace', path: 'members', value: value(a, c) }, [a, c]],
    [{ op: 'replace', value: { displayName: 'Crew', members: value(b) } }, [b]],
    [{ op: 'remove', path: 'members' }, []],
  ];
  for (const [operation, wanted] of steps) {
    const answer = await scim(server, 'PATCH', path, patchOf(operation));
    assert.deepEqual([answer.status, answer.body], [204, ''], JSON.stringify(operation));
    assert.deepEqual(idsOf(await scimOk(server, 'GET', path)), wanted, JSON.stringify(operation));
  }
  const shown = await scim(server, 'PATCH', `${path}?attributes=displayName`, patchOf(steps[0]?.[0] ?? {}));
  assert.deepEqual([shown.status, shown.body.displayName, shown.body.members], [200, 'Crew', undefined]);
  const several = patchOf(
    { op: 'remove', path: 'members' },
    { op: 'add', path: 'members', value: value(d) },
    { op: 'replace', path: 'externalId', value: 'x1' },
  );
  await scim(server, 'PATCH', path, several);
  const group = await scimOk(server, 'GET', path);
  assert.deepEqual([idsOf(group), group.externalId], [[d], 'x1']);
});

test('a change that is refused changes nothing, not even what came before it', async () => {
  await using server = await startScimServer();
  const anna = await scimUser(server, 'anna');
  const { id } = await scimGroup(server, 'Staff', [anna]);
  const wrong = patchOf(
    { op: 'remove', path: 'members' },
    { op: 'add', path: 'members', value: [{ value: 'nobody' }] },
  );
  const { status, body } = await scim(server, 'PATCH', `/Groups/${id}`, wrong);
  assert.deepEqual([status, body.scimType], [400, 'invalidValue']);
  const group = await scimOk(server, 'GET', `/Groups/${id}`);
  assert.deepEqual([idsOf(group), group.meta.version], [[anna.id], 'W/"1"']);
});

test('RFC 7644 3.4.2.4: lists in pages, and without members where they are not wanted', async () => {
  await using server = await startScimServer();
  const anna = await scimUser(server, 'anna');
  for (let count = 0; count < 7; count++) await scimGroup(server, `Group ${count}`, [anna]);
  const page = async (query: string) => {
    const { totalResults, startIndex, itemsPerPage, Resources } = await scimOk(
      server,
      'GET',
      `/Groups?${query}`,
    );
    assert.equal(itemsPerPage, Resources.length);
    return { totalResults, startIndex, names: Resources.map(({ displayName }: Body) => displayName) };
  };
  assert.deepEqual(await page('startIndex=3&count=2'), {
    totalResults: 7,
    startIndex: 3,
    names: ['Group 2', 'Group 3'],
  });
  assert.deepEqual((await page('startIndex=7')).names, ['Group 6']);
  assert.deepEqual((await page('startIndex=8')).names, []);
  assert.deepEqual(await page('count=0'), { totalResults: 7, startIndex: 1, names: [] });
  assert.deepEqual((await page('startIndex=-5&count=-1')).names, []);
  const filter = encodeURIComponent('displayName sw "group" and displayName ge "group 2"');
  assert.deepEqual(await page(`filter=${filter}&startIndex=2&count=2`), {
    totalResults: 5,
    startIndex: 2,
    names: ['Group 3', 'Group 4'],
  });
  const [first] = (await scimOk(server, 'GET', '/Groups?excludedAttributes=members&count=1')).Resources;
  assert.deepEqual([first.members, first.displayName], [undefined, 'Group 0']);
  const [only] = (await scimOk(server, 'GET', '/Groups?attributes=members.value,id&count=1')).Resources;
  assert.deepEqual(
    [Object.keys(only).sort(), only.members],
    [['id', 'members', 'schemas'], [{ value: anna.id }]],
  );
});

test('RFC 7644 3.4.3: .search of one type, and of both', async () => {
  await using server = await startScimServer();
  const anna = await scimUser(server, 'anna');
  await scimUser(server, 'bo');
  const group = await scimGroup(server, 'Anna and others', [anna]);
  const search = async (path: string, body: object) =>
    (await scimOk(server, 'POST', `${path}/.search`, body)).Resources.map(({ id }: Body) => id);
  assert.deepEqual(await search('/Users', { filter: 'userName eq "anna"' }), [anna.id]);
  assert.deepEqual(await search('/Groups', { filter: `members eq "${anna.id}"` }), [group.id]);
  assert.deepEqual(await search('', { filter: 'userName sw "an" or displayName sw "an"' }), [
    anna.id,
    group.id,
  ]);
  assert.deepEqual(await search('', { startIndex: 3, count: 5 }), [group.id]);
  assert.deepEqual(await search('', { filter: 'meta.resourceType eq "Group"' }), [group.id]);
  const groups = encodeURIComponent(`groups.value eq "${group.id}"`);
  assert.equal((await scimOk(server, 'GET', `/Users?filter=${groups}`)).totalResults, 1);
  const both = encodeURIComponent(`id eq "${group.id}" and members eq "${anna.id}"`);
  assert.equal(
    (await scimOk(server, 'GET', `/Groups?filter=${both}&excludedAttributes=members`)).totalResults,
    1,
  );
  const tooMany = await scim(server, 'GET', `/Groups?filter=${encodeURIComponent('members pr')}`);
  assert.deepEqual([tooMany.status, tooMany.body.scimType], [400, 'tooMany']);
});

test('RFC 7644 3.4.2.2: a filter without an index looks at all users', async () => {
  await using server = await startScimServer();
  for (let count = 0; count < 12; count++) {
    await scimUser(server, `user${count}`, { emails: [{ value: `u${count}@agency.test`, type: 'work' }] });
  }
  const filter = encodeURIComponent('emails[type eq "work" and value sw "u1"]');
  const list = await scimOk(server, 'GET', `/Users?filter=${filter}&attributes=userName&count=2`);
  assert.equal(list.totalResults, 3);
  assert.deepEqual(
    list.Resources.map(({ userName }: Body) => userName),
    ['user1', 'user10'],
  );
});
