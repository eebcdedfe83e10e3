import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  claimAt,
  filledIn,
  groupsOf,
  isAdminByGroups,
  isClaimPath,
  isTemplate,
  proposedLocalpart,
  refusalByGroups,
  subjectOf,
} from '#server/providers/claims.ts';
import { ldapKind } from '#server/providers/ldap-option.ts';
import { oidcProvidersKind } from '#server/providers/oidc-option.ts';
import { Seal } from '#server/seal.ts';
import { temporaryFolder } from '#test/harness/databases.ts';

const RULES = { groups: 'groups', allowGroups: [], refuseGroups: [], adminGroups: [] };

test('templates are filled with claims, and none is where one of them is absent', () => {
  const claims = { given: 'A', name: { family: 'B' }, list: ['C', 'D'], 'http://x/y': 'E', n: 7, none: null };
  assert.equal(filledIn('{given} {name.family}', claims), 'A B');
  assert.equal(filledIn('{list}{http://x/y}{n}', claims), 'CE7');
  for (const template of ['{none}', '{given}{missing}', '{name}', '{constructor}', '{__proto__.x}', ' ']) {
    assert.equal(filledIn(template, claims), undefined, template);
  }
  assert.equal(claimAt({ 'a.b': 1, a: { b: 2 } }, 'a.b'), 1);
  for (const good of ['{a}', 'x{a.b}y', 'no claim']) assert.ok(isTemplate(good), good);
  for (const bad of ['{', '{}', '{a', 'a}', '{a b}', '{{a}}', 'x'.repeat(2_000)])
    assert.ok(!isTemplate(bad), bad);
  assert.ok(isClaimPath('realm_access.roles') && !isClaimPath('a..b') && !isClaimPath(''));
});

test('a localpart is made of what a person is called', () => {
  const from = (name: string): string | undefined => proposedLocalpart('{n}', { n: name }, 'kurir.test');
  assert.equal(from('Åsa.Öberg@example.org'), 'asa.oberg');
  assert.equal(from('Jürgen Groß'), 'jurgen-gross');
  assert.equal(from('Søren Ægir'), 'soren-aegir');
  assert.equal(from('DOMAIN\\user'), 'domain-user');
  for (const none of ['', '@example.org', '漢字', '---', 'x'.repeat(300)])
    assert.equal(from(none), undefined, none);
});

test('groups that the provider does not tell admit nobody, and refuse where some are refused', () => {
  const overage = { _claim_names: { groups: 'src1' } };
  assert.equal(refusalByGroups(overage, RULES), undefined);
  assert.equal(refusalByGroups(overage, { ...RULES, allowGroups: ['a'] }), 'not_allowed');
  assert.equal(refusalByGroups(overage, { ...RULES, refuseGroups: ['a'] }), 'not_allowed');
  assert.equal(refusalByGroups({ hasgroups: true }, { ...RULES, refuseGroups: ['a'] }), 'not_allowed');
  assert.equal(isAdminByGroups(overage, { ...RULES, adminGroups: ['a'] }), undefined);
  assert.equal(isAdminByGroups({}, { ...RULES, adminGroups: ['a'] }), false);
  assert.deepEqual([...groupsOf({ r: { roles: ['x', '/y', 7] } }, 'r.roles')], ['x', '/y', 'y']);
});

test('a permanent id of several claims can be taken for no other', () => {
  assert.equal(subjectOf({ sub: 'a' }, ['sub']), 'a');
  assert.notEqual(subjectOf({ t: 'a"', o: 'b' }, ['t', 'o']), subjectOf({ t: 'a', o: '"b' }, ['t', 'o']));
  for (const claims of [{}, { t: 'a' }, { t: 'a', o: '' }, { t: 'a', o: 7 }]) {
    assert.equal(subjectOf(claims, ['t', 'o']), undefined);
  }
});

test('options of providers are refused with what is wrong', () => {
  const good = { id: 'a', issuer: 'https://a.example', client_id: 'c' };
  const parse = (more: object): unknown => oidcProvidersKind.parse([{ ...good, ...more }]);
  assert.ok(parse({}));
  assert.ok(oidcProvidersKind.parse(JSON.stringify([good])));
  assert.equal(oidcProvidersKind.parse('nonsense'), undefined);
  for (const [more, problem] of [
    [{ id: 'A b' }, /id is not/],
    [{ issuer: 'http://a.example' }, /issuer is not/],
    [{ issuer: undefined }, /issuer is missing/],
    [{ client_id: undefined }, /client_id is missing/],
    [{ client_secret: 'a', client_secret_file: 'b' }, /not both/],
    [{ client_auth: 'client_secret_post' }, /needs client_secret/],
    [{ client_auth: 'private_key_jwt' }, /needs client_key_file/],
    [{ client_auth: 'magic' }, /client_auth is not/],
    [{ scopes: ['profile'] }, /must have openid/],
    [{ localpart: '{' }, /localpart is not/],
    [{ subject_claims: ['a b'] }, /subject_claims is not/],
    [{ icon: 'https://a.example/x.png' }, /icon is not/],
    [{ check_every: 'often' }, /check_every is not/],
    [{ scope: ['openid'] }, /unknown member scope.*scopes/],
  ] as const) {
    assert.throws(() => parse(more), problem);
  }
  assert.throws(() => oidcProvidersKind.parse([good, good]), /there twice/);
  const ldap = { url: 'ldaps://a.example', base: 'dc=a' };
  assert.ok(ldapKind.parse(ldap));
  for (const [more, problem] of [
    [{ url: 'https://a.example' }, /url is not/],
    [{ url: 'ldap://a.example', starttls: false }, /in the clear/],
    [{ base: undefined }, /base is missing/],
    [{ bind_dn: 'cn=a' }, /belong together/],
    [{ dn_template: 'uid=ann' }, /no \{name\}/],
    [{ filter: 'uid=a' }, /filter is not/],
    [{ id_attribute: 'a b' }, /id_attribute is not/],
  ] as const) {
    assert.throws(() => ldapKind.parse({ ...ldap, ...more }), problem);
  }
});

test('what is sealed opens with the same key and for the same purpose only', async () => {
  await using folder = await temporaryFolder();
  await using other = await temporaryFolder();
  const seal = await Seal.open(folder.path);
  const sealed = seal.seal('a', 'the text');
  assert.equal((await Seal.open(folder.path)).unseal('a', sealed), 'the text');
  assert.equal(seal.unseal('b', sealed), undefined);
  assert.equal((await Seal.open(other.path)).unseal('a', sealed), undefined);
  for (const wrong of ['', 'x', `${sealed.slice(0, -2)}AA`, sealed.slice(4)]) {
    assert.equal(seal.unseal('a', wrong), undefined);
  }
});
