/** Changes of users by PATCH: RFC 7644 section 3.5.2. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '#keys/json.ts';
import { ScimError } from '#server/scim/errors.ts';
import { USER } from '#server/scim/model.ts';
import { changed, changesOf } from '#server/scim/patch.ts';

const WORK = { value: 'anna@agency.test', type: 'work', primary: true };
const HOME = { value: 'anna@home.test', type: 'home' };
const OTHER = { value: 'anna@other.test', type: 'other' };

type Operation = { op: string; path?: string; value?: Json };

function after(attributes: Record<string, Json>, ...operations: readonly Operation[]): Record<string, Json> {
  const before = new Map<string, Json>(Object.entries({ userName: 'anna', ...attributes }));
  const { userName, ...rest } = Object.fromEntries(
    changed(before, changesOf(USER, { Operations: [...operations] })),
  );
  return userName === 'anna' ? rest : { userName: userName ?? null, ...rest };
}

const both = { emails: [WORK, HOME] };

const CASES: readonly [string, Record<string, Json>, readonly Operation[], Record<string, Json>][] = [
  ['adds a value', {}, [{ op: 'add', path: 'displayName', value: 'Anna' }], { displayName: 'Anna' }],
  [
    'replaces one',
    { displayName: 'A' },
    [{ op: 'Replace', path: 'DISPLAYNAME', value: 'B' }],
    { displayName: 'B' },
  ],
  ['removes one', { displayName: 'A' }, [{ op: 'remove', path: 'displayName' }], {}],
  ['null means none', { displayName: 'A' }, [{ op: 'replace', path: 'displayName', value: null }], {}],
  [
    'takes the parts of a name together with those that are there',
    { name: { familyName: 'Berg' } },
    [{ op: 'replace', path: 'name', value: { givenName: 'Anna' } }],
    { name: { familyName: 'Berg', givenName: 'Anna' } },
  ],
  [
    'changes one part',
    {},
    [{ op: 'add', path: 'name.familyName', value: 'Berg' }],
    { name: { familyName: 'Berg' } },
  ],
  [
    'removes one part, and the whole with the last one',
    { name: { familyName: 'Berg' } },
    [{ op: 'remove', path: `${USER.schema}:name.familyName` }],
    {},
  ],
  [
    'takes paths as the keys of a value without a path',
    {},
    [
      {
        op: 'add',
        value: { 'name.givenName': 'Anna', 'emails[type eq "work"].value': 'a@b.test', active: 'False' },
      },
    ],
    { name: { givenName: 'Anna' }, emails: [{ type: 'work', value: 'a@b.test' }], active: false },
  ],
  [
    'adds to a list',
    { emails: [HOME] },
    [{ op: 'add', path: 'emails', value: [OTHER] }],
    { emails: [HOME, OTHER] },
  ],
  ['adds nothing twice', both, [{ op: 'add', path: 'emails', value: [HOME] }], both],
  [
    'makes a new primary value the only one',
    both,
    [{ op: 'add', path: 'emails', value: { ...OTHER, primary: true } }],
    { emails: [{ ...WORK, primary: false }, HOME, { ...OTHER, primary: true }] },
  ],
  ['replaces a list', both, [{ op: 'replace', path: 'emails', value: [OTHER] }], { emails: [OTHER] }],
  [
    'changes those that a filter means',
    both,
    [{ op: 'replace', path: 'emails[type eq "home"].value', value: 'new@home.test' }],
    { emails: [WORK, { ...HOME, value: 'new@home.test' }] },
  ],
  [
    'changes a whole value that a filter means',
    both,
    [{ op: 'replace', path: 'emails[type eq "home"]', value: { value: 'x@y.test', primary: true } }],
    {
      emails: [
        { ...WORK, primary: false },
        { value: 'x@y.test', type: 'home', primary: true },
      ],
    },
  ],
  [
    'removes those that a filter means',
    both,
    [{ op: 'remove', path: 'emails[type eq "work"]' }],
    { emails: [HOME] },
  ],
  [
    'removes those that the value names',
    both,
    [{ op: 'remove', path: 'emails', value: [HOME] }],
    { emails: [WORK] },
  ],
  [
    'makes what an added filter describes',
    {},
    [{ op: 'add', path: 'emails[type eq "work" and primary eq true].value', value: 'a@b.test' }],
    { emails: [{ type: 'work', primary: true, value: 'a@b.test' }] },
  ],
  [
    'removes a part of all',
    both,
    [{ op: 'remove', path: 'emails.type' }],
    {
      emails: [{ value: WORK.value, primary: true }, { value: HOME.value }],
    },
  ],
  [
    'passes over what is not kept',
    {},
    [
      { op: 'add', path: 'title', value: 'Chief' },
      {
        op: 'add',
        path: 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department',
        value: 'IT',
      },
      { op: 'replace', value: { id: 'x', meta: {}, groups: [], unknown: 1, title: 'Chief' } },
    ],
    {},
  ],
  ['changes the userName', {}, [{ op: 'replace', value: { userName: 'b' } }], { userName: 'b' }],
];

for (const [what, before, operations, wanted] of CASES) {
  test(`RFC 7644 3.5.2: PATCH ${what}`, () => assert.deepEqual(after(before, ...operations), wanted));
}

const REFUSED: readonly [Operation, string][] = [
  [{ op: 'remove' }, 'noTarget'],
  [{ op: 'replace', path: 'emails[type eq "other"].value', value: 'x' }, 'noTarget'],
  [{ op: 'remove', path: 'userName' }, 'mutability'],
  [{ op: 'replace', path: 'id', value: 'x' }, 'mutability'],
  [{ op: 'replace', path: 'meta.version', value: 'x' }, 'mutability'],
  [{ op: 'add', path: 'groups', value: [{ value: 'x' }] }, 'mutability'],
  [{ op: 'add', path: 'nothing', value: 'x' }, 'invalidPath'],
  [{ op: 'add', path: 'name.nothing', value: 'x' }, 'invalidPath'],
  [{ op: 'add', path: 'displayName.part', value: 'x' }, 'invalidPath'],
  [{ op: 'add', path: 'displayName[value eq "x"]', value: 'x' }, 'invalidPath'],
  [{ op: 'add', path: 'emails[', value: 'x' }, 'invalidPath'],
  [{ op: 'add', path: 'emails[type is "x"]', value: 'x' }, 'invalidFilter'],
  [{ op: 'add', path: 'displayName' }, 'invalidValue'],
  [{ op: 'add', path: 'displayName', value: 7 }, 'invalidValue'],
  [{ op: 'add', path: 'displayName', value: 'x'.repeat(1_001) }, 'invalidValue'],
  [{ op: 'add', path: 'active', value: 'perhaps' }, 'invalidValue'],
  [{ op: 'add', path: 'name', value: 'Anna' }, 'invalidValue'],
  [{ op: 'add', path: 'emails', value: [7] }, 'invalidValue'],
  [
    {
      op: 'add',
      path: 'emails',
      value: [
        { value: 'a', primary: true },
        { value: 'b', primary: true },
      ],
    },
    'invalidValue',
  ],
  [
    { op: 'add', path: 'emails', value: Array.from({ length: 60 }, (_, at) => ({ value: `${at}` })) },
    'invalidValue',
  ],
  [{ op: 'add', value: 'x' }, 'invalidValue'],
  [{ op: 'move', path: 'displayName', value: 'x' }, 'invalidSyntax'],
];

for (const [operation, scimType] of REFUSED) {
  test(`RFC 7644 3.5.2: ${JSON.stringify(operation).slice(0, 80)} is refused: ${scimType}`, () => {
    assert.throws(
      () => after({ emails: [WORK] }, operation),
      (error) => error instanceof ScimError && error.scimType === scimType,
    );
  });
}

test('what is no list of operations is refused, and so are too many', () => {
  for (const body of [
    undefined,
    null,
    'x',
    [],
    {},
    { Operations: {} },
    { Operations: [] },
    { Operations: [7] },
  ]) {
    assert.throws(() => changesOf(USER, body), { scimType: 'invalidSyntax' });
  }
  const many = Array.from({ length: 1_001 }, () => ({ op: 'remove', path: 'displayName' }));
  assert.throws(() => changesOf(USER, { Operations: many }), { status: 413 });
});
