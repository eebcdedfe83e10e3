/** Filters: RFC 7644 section 3.4.2.2. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { ScimError } from '#server/scim/errors.ts';
import { parseFilter, parsePath } from '#server/scim/filter.ts';
import { matches } from '#server/scim/match.ts';
import { GROUP, USER } from '#server/scim/model.ts';

const anna: JsonObject = {
  schemas: [USER.schema],
  id: 'Id-1',
  externalId: 'E1',
  userName: 'Anna.Berg@agency.test',
  name: { givenName: 'Anna', familyName: 'Berg "the \\ quick"' },
  displayName: 'Anna Berg',
  active: true,
  emails: [
    { value: 'anna@agency.test', type: 'work', primary: true },
    { value: 'anna@home.test', type: 'home' },
  ],
  meta: {
    resourceType: 'User',
    created: '2026-01-02T03:04:05.000Z',
    lastModified: '2026-02-03T00:00:00.000Z',
  },
};

const HOLDING = [
  'userName eq "anna.berg@AGENCY.test"',
  'USERNAME Eq "anna.berg@agency.test"',
  'urn:ietf:params:scim:schemas:core:2.0:User:userName sw "anna"',
  'userName co "BERG"',
  'userName ew ".TEST"',
  'userName ne "somebody"',
  'externalId eq "E1"',
  'not (externalId eq "e1")',
  'id eq "Id-1"',
  'name.familyName eq "berg \\"the \\\\ quick\\""',
  'title ne "x" or userName pr',
  'displayName gt "anna a" and displayName lt "ANNA C"',
  'displayName ge "anna berg" and displayName le "anna berg"',
  'active eq true',
  'active eq "True"',
  'active ne false',
  'emails pr',
  'emails eq "anna@home.test"',
  'emails.value ew "@agency.test"',
  'emails.type eq "home"',
  'emails[type eq "work" and value co "agency"]',
  'emails[type eq "work" and not (value co "home")]',
  'emails[primary eq true]',
  'not (emails[type eq "other"])',
  'meta.created gt "2026-01-02T02:04:05Z"',
  'meta.created le "2026-01-02T04:04:05+01:00"',
  'meta.resourceType eq "User"',
  'schemas eq "urn:ietf:params:scim:schemas:core:2.0:User"',
  'preferredLanguage eq null',
  'displayName ne null',
  'userName eq "nobody" or userName pr and displayName eq "anna berg"',
  '(userName eq "nobody" or userName pr) and displayName eq "anna berg"',
  'userName sw "\\u0061nna"',
];

const NOT_HOLDING = [
  'externalId eq "e1"',
  'userName eq "anna"',
  'preferredLanguage pr',
  'preferredLanguage gt "a"',
  'active eq false',
  'title pr',
  'urn:ietf:params:scim:schemas:core:2.0:Group:displayName eq "anna berg"',
  'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "x"',
  'emails[type eq "work" and value co "home"]',
  'emails[type eq "other"]',
  'not (userName pr)',
  'userName pr and (displayName eq "x" or displayName eq "y")',
  'userName eq "nobody" or userName pr and displayName eq "x"',
  'meta.created gt "not a time"',
  'displayName eq 7',
  'displayName ne "ANNA BERG"',
  'constructor pr',
];

for (const filter of HOLDING) {
  test(`RFC 7644 3.4.2.2: ${filter} holds`, () => {
    assert.equal(matches(USER, anna, parseFilter(filter)), true);
  });
}

for (const filter of NOT_HOLDING) {
  test(`RFC 7644 3.4.2.2: ${filter} does not hold`, () => {
    assert.equal(matches(USER, anna, parseFilter(filter)), false);
  });
}

test('groups are found by a member, with and without "value"', () => {
  const group = { displayName: 'Staff', members: [{ value: 'Id-1', type: 'User' }] };
  for (const filter of ['members eq "Id-1"', 'members.value eq "Id-1"', 'members[value eq "Id-1"]']) {
    assert.equal(matches(GROUP, group, parseFilter(filter)), true, filter);
  }
  assert.equal(matches(GROUP, group, parseFilter('members eq "id-1"')), false, 'ids have a case');
});

test('what is no filter is refused as invalidFilter, and nothing takes long', () => {
  const wrong = [
    '',
    ' ',
    'userName',
    'userName eq',
    'userName eq anna',
    "userName eq 'anna'",
    'userName is "anna"',
    'eq "anna"',
    'userName eq "anna" and',
    'userName eq "anna" userName pr',
    'and userName pr',
    '(userName pr',
    'userName pr)',
    'not userName pr',
    'emails[type eq "work"',
    'emails[]',
    'userName eq "\\x"',
    'userName eq "un',
    'userName eq 01',
    'userName eq [1]',
    'user name eq "x"',
    '1name pr',
    '__proto__ pr',
    'a.b.c pr',
    `${'('.repeat(50)}userName pr${')'.repeat(50)}`,
    Array(200).fill('userName pr').join(' or '),
    `userName eq "${'x'.repeat(5_000)}"`,
    `${'not ('.repeat(600)}`,
    'urn:'.repeat(1_000),
    '\0',
  ];
  for (const text of wrong) {
    assert.throws(
      () => parseFilter(text),
      (error) => error instanceof ScimError && error.status === 400 && error.scimType === 'invalidFilter',
      text.slice(0, 60),
    );
  }
});

test('what has no order, or has parts, is refused when it is compared', () => {
  for (const filter of ['active gt true', 'name eq "Anna"', 'meta eq "x"']) {
    assert.throws(() => matches(USER, anna, parseFilter(filter)), { scimType: 'invalidFilter' }, filter);
  }
});

test('RFC 7644 3.5.2: paths of PATCH', () => {
  const attribute = { urn: undefined, name: 'emails', sub: undefined };
  const filter = parseFilter('type eq "work"');
  assert.deepEqual(parsePath('emails'), { path: attribute, filter: undefined });
  assert.deepEqual(parsePath('Emails.Value'), { path: { ...attribute, sub: 'value' }, filter: undefined });
  assert.deepEqual(parsePath('emails[type eq "work"]'), { path: attribute, filter });
  assert.deepEqual(parsePath(' emails[ type eq "work" ].value'), {
    path: { ...attribute, sub: 'value' },
    filter,
  });
  const urn = 'urn:ietf:params:scim:schemas:core:2.0:user';
  assert.deepEqual(parsePath(`${USER.schema}:name.familyName`).path, {
    urn,
    name: 'name',
    sub: 'familyname',
  });
  for (const wrong of [
    '',
    'emails[',
    'emails[type eq "work"]value',
    'emails[type eq "work"].a.b',
    'a.b[c pr]',
    '[x pr]',
  ]) {
    assert.throws(() => parsePath(wrong), ScimError, wrong);
  }
});
