/** What everybody can ask for, and as often as they like, is found by an index. */

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { before, test } from 'node:test';
import { namedStatements, translate } from '#storage/sql.ts';
import { temporarySqlite } from '#test/harness/databases.ts';

const storage = new URL('../../storage/', import.meta.url);

/** Tables of a few rows, and statements that an operator asks for or that run on a thread of their own. */
const SMALL =
  /^SCAN (schema_migrations|stream_reserve|registration_tokens|users|p|s|servers|ended|found|json_each|CONSTANT|search_index VIRTUAL TABLE|words VIRTUAL TABLE|appservices|appservice_transactions|published_rooms|network_rooms)\b/;
const RARE: ReadonlySet<string> = new Set([
  'destinations.sharingRooms',
  // Asked for by the operator.
  'circles.all',
  'contradictedKeys.list',
  'deliveryLedger.clockSkews',
  'sharedRooms.list',
  'mediaScans.count',
  'purge.pending',
  'purge.unsent',
  // Asked for by the operator, or by a directory that keeps the accounts.
  'groupRooms.count',
  'groupRooms.waiting',
  'scimGroups.count',
  'scimUsers.count',
  // At the start, and when the operator changes one.
  'partners.all',
  // There are never many: it is what keeps them few.
  'oauthClients.forgetSurplus',
  'urlPreviews.forgetSurplus',
  // What it walks over is what it has found.
  'relations.newestDescendants',
  'relations.oldestDescendants',
  'directoryWords.names',
  // Once for a room that is deleted.
  'purge.outgoing',
  'purge.outbox',
  'purge.pendingRedactions',
  // Once, at the start.
  'learnedServers.newest',
  'rooms.begun',
  'presence.newest',
  'pushers.users',
  'pushers.usersWithMail',
  'waitingPushes.users',
  // What it walks over is to be removed.
  'keyBackups.deleted',
]);

let plans: ReadonlyMap<string, readonly string[]>;

before(async () => {
  const files = (await readdir(storage)).filter(
    (name) => name.endsWith('.ts') && !name.endsWith('-worker.ts'),
  );
  await Promise.all(files.map((name) => import(new URL(name, storage).href)));
  await using opened = await temporarySqlite();
  const found = new Map<string, readonly string[]>();
  for (const { name, text } of namedStatements()) {
    const explained = { name: '', text: `EXPLAIN QUERY PLAN ${translate(text, 'sqlite')}` };
    const nulls = Array.from({ length: translate(text, 'sqlite').split('?').length - 1 }, () => null);
    const rows = await opened.db.write('test', (tx) =>
      tx.all<null[], { detail: string }>(explained, ...nulls),
    );
    found.set(
      name,
      rows.map(({ detail }) => detail),
    );
  }
  plans = found;
});

test('no statement of the running server walks over a whole table that grows', () => {
  const walks = [...plans].filter(
    ([name, plan]) =>
      !name.startsWith('check.') &&
      !RARE.has(name) &&
      plan.some((step) => step.startsWith('SCAN ') && !SMALL.test(step)),
  );
  assert.deepEqual(walks, []);
});

test('whether a server is in a room, and who of it, is found without walking over the members', () => {
  for (const name of ['memberships.someOfServer', 'memberships.joinedOfServer', 'roomMembers.ofServer']) {
    assert.match(plans.get(name)?.[0] ?? '', /\(room_nid=\? AND membership=\? AND server_name=\?\)/, name);
  }
});

test('the redaction of a member event looks at one member', () => {
  assert.match(plans.get('memberships.redact')?.[0] ?? '', /\(room_nid=\? AND user_id=\?\)/);
});

test('what relates to an event is found by the kind, and its edits by their sender, however much else relates to it', () => {
  for (const name of ['relations.summaries', 'relations.references']) {
    const steps = (plans.get(name) ?? []).filter((step) => step.startsWith('SEARCH r '));
    assert.ok(steps.length > 0);
    for (const step of steps)
      assert.match(step, /relations_by_(type|sender) \(parent_nid=\? AND rel_type=\?/);
  }
  // The last edit is the first one found, but for those of the same time.
  assert.ok(plans.get('relations.summaries')?.includes('USE TEMP B-TREE FOR LAST TERM OF ORDER BY'));
  for (const name of ['relations.newestFirst', 'relations.oldestOfType', 'relations.threads'])
    assert.ok(!plans.get(name)?.some((step) => step.includes('TEMP B-TREE')), name);
});

test('what a search finds is looked up by its position, however many rooms it is for', () => {
  for (const name of ['search.newest', 'search.best'])
    assert.ok(
      plans.get(name)?.some((step) => step.includes('SEARCH e USING INDEX events_by_stream (position=?)')),
      name,
    );
});
