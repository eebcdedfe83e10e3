import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, login, register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

const rulePath = (kind: string, ruleId: string) => `/pushrules/global/${kind}/${encodeURIComponent(ruleId)}`;

async function idsOf(user: TestClient, kind: string): Promise<string[]> {
  const { global } = await user.get('/pushrules/');
  return global[kind].map((rule: { rule_id: string }) => rule.rule_id);
}

test('a rule is made, read whole and in parts, changed and deleted', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const path = rulePath('content', 'cake');
  await alice.put(path, { pattern: 'cake*lie', actions: ['notify'] });
  const rule = {
    rule_id: 'cake',
    default: false,
    enabled: true,
    pattern: 'cake*lie',
    actions: ['notify'],
  };
  assert.deepEqual(await alice.get(path), rule);
  assert.deepEqual(await alice.get(`${path}/enabled`), { enabled: true });
  assert.deepEqual(await alice.get(`${path}/actions`), { actions: ['notify'] });
  assert.deepEqual((await alice.get('/pushrules/')).global.content, [rule]);
  assert.deepEqual((await alice.get('/pushrules/global/')).content, [rule]);

  await alice.put(`${path}/enabled`, { enabled: false });
  const highlight = ['notify', { set_tweak: 'highlight' }];
  await alice.put(`${path}/actions`, { actions: highlight });
  assert.deepEqual(await alice.get(path), { ...rule, enabled: false, actions: highlight });
  // Whoever changes a rule does not enable it.
  await alice.put(path, { pattern: 'pie', actions: [] });
  assert.deepEqual(await alice.get(path), { ...rule, enabled: false, pattern: 'pie', actions: [] });

  await alice.delete(path);
  assertError(await alice.try('GET', path), 404, 'M_NOT_FOUND');
  assertError(await alice.try('DELETE', path), 404, 'M_NOT_FOUND');
});

test('a new rule is the most important of its kind, unless it is put before or after another', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const make = (id: string, query = '') =>
    alice.try('PUT', `${rulePath('sender', id)}${query}`, { actions: [] });
  const expectOrder = async (...ids: string[]) => assert.deepEqual(await idsOf(alice, 'sender'), ids);
  await make('a');
  await make('b');
  await expectOrder('b', 'a');
  assert.equal((await make('c', '?after=b')).status, 200);
  await expectOrder('b', 'c', 'a');
  assert.equal((await make('d', '?before=a')).status, 200);
  await expectOrder('b', 'c', 'd', 'a');
  assert.equal((await make('e', '?after=a')).status, 200);
  await expectOrder('b', 'c', 'd', 'a', 'e');
  // "must be the next most important rule with respect to the rule identified by `before`"
  assert.equal((await make('a', '?before=b&after=e')).status, 200);
  await expectOrder('a', 'b', 'c', 'd', 'e');
  // Without a place a rule that is there stays where it is.
  await make('c');
  await expectOrder('a', 'b', 'c', 'd', 'e');
  for (const query of ['?before=nothing', '?after=nothing', '?before=a', '?after=a']) {
    const answer = await make('a', query);
    assertError(answer, 400, 'M_UNKNOWN');
    assert.match(answer.body.error, /before\/after rule not found: (a|nothing)/);
  }
  assertError(await make('a', '?before=.m.rule.master'), 400, 'M_INVALID_PARAM');
  await expectOrder('a', 'b', 'c', 'd', 'e');
});

test('own rules come before the default rules of their kind, but after .m.rule.master', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  await alice.put(rulePath('override', 'mine'), { actions: [] });
  const ids = await idsOf(alice, 'override');
  assert.deepEqual(ids.slice(0, 3), ['.m.rule.master', 'mine', '.m.rule.suppress_notices']);
  assert.deepEqual((await alice.get(rulePath('override', 'mine'))).conditions, []);
});

test('default rules are enabled, disabled and given other actions, but not replaced or deleted', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const path = rulePath('underride', '.m.rule.message');
  await alice.put(`${path}/actions`, { actions: [] });
  await alice.put(`${path}/enabled`, { enabled: false });
  const changed = await alice.get(path);
  assert.deepEqual([changed.default, changed.enabled, changed.actions], [true, false, []]);
  assert.deepEqual((await bob.get(path)).actions, ['notify']);
  assertError(await alice.try('PUT', path, { actions: [] }), 400, 'M_INVALID_PARAM');
  assertError(await alice.try('DELETE', path), 404, 'M_NOT_FOUND');
  const nothing = rulePath('override', '.m.rule.message');
  assertError(await alice.try('PUT', `${nothing}/enabled`, { enabled: true }), 404, 'M_NOT_FOUND');
  await server.restart();
  assert.equal((await alice.get(path)).enabled, false);
});

test('what is no rule is refused and changes nothing', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const before = await alice.get('/pushrules/');
  const actions = ['notify'];
  const cases: readonly [kind: string, id: string, body: unknown, status: number, errcode: string][] = [
    ['other', 'x', { actions }, 400, 'M_INVALID_PARAM'],
    // MSC4306: "clients MUST NOT be able to create custom rules with this push rule kind".
    ['postcontent', 'x', { actions, conditions: [] }, 400, 'M_INVALID_PARAM'],
    ['override', '.mine', { actions }, 400, 'M_INVALID_PARAM'],
    ['override', 'a/b', { actions }, 400, 'M_INVALID_PARAM'],
    ['override', 'a\\b', { actions }, 400, 'M_INVALID_PARAM'],
    ['override', 'x'.repeat(301), { actions }, 400, 'M_INVALID_PARAM'],
    ['override', 'x', {}, 400, 'M_MISSING_PARAM'],
    ['override', 'x', [], 400, 'M_BAD_JSON'],
    ['override', 'x', { actions: 'notify' }, 400, 'M_INVALID_PARAM'],
    ['override', 'x', { actions: [5] }, 400, 'M_INVALID_PARAM'],
    ['override', 'x', { actions: ['shout'] }, 400, 'M_INVALID_PARAM'],
    ['override', 'x', { actions: [{ set: 'x' }] }, 400, 'M_INVALID_PARAM'],
    ['override', 'x', { actions, conditions: {} }, 400, 'M_INVALID_PARAM'],
    ['override', 'x', { actions, conditions: [{}] }, 400, 'M_INVALID_PARAM'],
    ['content', 'x', { actions }, 400, 'M_MISSING_PARAM'],
    ['content', 'x', { actions, pattern: 5 }, 400, 'M_BAD_JSON'],
    ['content', 'x', { actions, pattern: 'a'.repeat(3_000) }, 413, 'M_TOO_LARGE'],
  ];
  for (const [kind, id, body, status, errcode] of cases)
    assertError(await alice.try('PUT', rulePath(kind, id), body), status, errcode);
  assertError(
    await alice.try('PUT', `${rulePath('room', 'x')}/enabled`, { enabled: true }),
    404,
    'M_NOT_FOUND',
  );
  const master = `${rulePath('override', '.m.rule.master')}`;
  assertError(await alice.try('PUT', `${master}/enabled`, {}), 400, 'M_MISSING_PARAM');
  assertError(await alice.try('PUT', `${master}/enabled`, { enabled: 1 }), 400, 'M_BAD_JSON');
  assertError(await alice.try('PUT', `${master}/actions`, {}), 400, 'M_MISSING_PARAM');
  assertError(await alice.try('GET', rulePath('postcontent', '.m.x')), 404, 'M_NOT_FOUND');
  assert.deepEqual(await alice.get('/pushrules/'), before);
});

test('the rules of a user are limited, and nobody loses any by that', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const pattern = 'a'.repeat(1_900);
  let made = 0;
  let answer: Answer;
  do {
    answer = await alice.try('PUT', rulePath('content', `word${made}`), { pattern, actions: [] });
    if (answer.status === 200) made += 1;
  } while (answer.status === 200 && made < 1_000);
  assertError(answer, 413, 'M_TOO_LARGE');
  assert.equal((await idsOf(alice, 'content')).length, made);
});

test('a change of the rules is told to every device as account data, and wakes those that wait', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const phone = await login(server, 'alice', alice.password);
  const isRules = (event: { type: string }) => event.type === 'm.push_rules';
  const first = await phone.sync();
  const [told] = first.account_data.events.filter(isRules);
  assert.deepEqual(told.content, await alice.get('/pushrules/'));
  const path = rulePath('room', '!foo:example.com');
  let since = first.next_batch;
  for (const [part, body] of [
    ['', { actions: ['notify'] }],
    ['/enabled', { enabled: false }],
    ['/enabled', { enabled: true }],
    ['/actions', { actions: ['dont_notify'] }],
  ] as const) {
    const waiting = phone.sync({ since, timeout: 10_000 });
    await alice.put(`${path}${part}`, body);
    const answer = await waiting;
    assert.deepEqual(answer.account_data.events.filter(isRules)[0]?.content, await alice.get('/pushrules/'));
    since = answer.next_batch;
  }
  assert.equal((await phone.sync({ since })).account_data, undefined);
  const filter = { account_data: { not_types: ['m.push_rules'] } };
  assert.equal((await phone.sync({ filter })).account_data, undefined);
  assert.deepEqual(
    await alice.get(`/user/${alice.userId}/account_data/m.push_rules`),
    await alice.get('/pushrules/'),
  );
});

test('reading a rule does not change it: dont_notify is kept as it was set', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  await alice.put(rulePath('sender', alice.userId), { actions: ['dont_notify'] });
  for (let read = 0; read < 2; read++) {
    const { global } = await alice.get('/pushrules/');
    assert.deepEqual(global.sender[0].actions, ['dont_notify']);
  }
});

test('the rules of an account end with it', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  await alice.put(rulePath('room', '!r:kurir.test'), { actions: [] });
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'alice' },
    password: alice.password,
  };
  await alice.post('/account/deactivate', { auth });
  const { db } = server.ctx;
  const left = await db.write('test', (tx) =>
    tx.all({ name: '', text: 'SELECT user_id FROM push_rules ORDER BY user_id' }),
  );
  assert.deepEqual(left, []);
});
