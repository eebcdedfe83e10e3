/**
 * A process that dies anywhere in a write leaves the database as it was before or as it is after, never between
 * (fault F2): at every statement, the commit and the answer of one write of each kind.
 *
 * What a killed process leaves are its files as they are at that moment, since the system keeps what was written:
 * they are copied at each point, and opened as a server would after its restart. That this is so is shown by some
 * processes that are killed indeed, at points drawn by a seed; by all in the long run.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { forgetUnfinishedJoins } from '#rooms/told/adopt.ts';
import type { Reader } from '#storage/database.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { withFaultPoints } from '#test/harness/faults.ts';
import { isLongRun } from '#test/harness/long-run.ts';
import { openRooms } from '#test/harness/rooms.ts';
import { seed } from '#test/harness/rounds.ts';
import { DEEDS, type Deed } from './deeds.ts';

const FILES = ['kurir.db', 'kurir.db-wal'];
/** Real deaths of each kind in `npm test`. */
const KILLS = 1;

/** What a room is to anybody: not the positions kept in reserve, and nothing that nobody refers to. */
const VISIBLE: readonly string[] = [
  'SELECT room_id, version, state_group FROM rooms WHERE state_group <> 0 ORDER BY room_id',
  `SELECT event_id, position, status, reason, state_before, state_after, redacted_by, txn_id, json FROM events
   WHERE status <> 'outlier' ORDER BY event_id`,
  'SELECT position, event_nid FROM outgoing_events ORDER BY position',
  'SELECT room_nid, event_nid FROM forward_extremities ORDER BY room_nid, event_nid',
  'SELECT room_nid, event_id FROM backward_extremities ORDER BY room_nid, event_id',
  'SELECT room_nid, type, state_key, event_nid FROM current_state ORDER BY room_nid, type, state_key',
  'SELECT room_nid, position, type, state_key, event_nid FROM state_deltas ORDER BY room_nid, position, type, state_key',
  'SELECT room_nid, user_id, membership, event_nid, position FROM memberships ORDER BY room_nid, user_id',
  'SELECT room_nid, user_id, stripped_state FROM invites ORDER BY room_nid, user_id',
  'SELECT txn_id, event_id FROM client_transactions ORDER BY txn_id',
  'SELECT event_id, redaction_nid FROM pending_redactions ORDER BY event_id',
  'SELECT room_nid, event_id, thread_events, thread_latest FROM relation_parents ORDER BY room_nid, event_id',
  'SELECT event_nid, parent_nid, rel_type, type, sender, position FROM relations ORDER BY event_nid',
];

/** Points that every server has, whatever its statements are called: a rename must not lose them unseen. */
const NAMED = [
  'after events.insert',
  'before eventEdges.moveForward',
  'after eventEdges.moveForward',
  'before rooms.setStateGroup',
  'after stateNodes.insert',
  'after currentState.set',
  'after memberships.set',
  'after events.insertOutgoing',
  'after relations.upsertParent',
  'after relations.insert',
  'after relations.delete',
  'before the commit of rooms.persist',
  'after the commit of rooms.persist',
  'after the answer of rooms.persist',
];

const allPoints = new Set<string>();

for (const [name, deed] of Object.entries(DEEDS)) {
  test(`F2: killed anywhere in ${name}: as before, or as after`, async (t) => {
    await using folder = await temporaryFolder();
    const prepared = join(folder.path, 'prepared');
    await prepare(deed, prepared);
    const before = await look(prepared);
    const { points, snapshots, after } = await snapshotsOf(deed, prepared, folder.path);
    assert.notEqual(before, after, 'the deed does something');
    for (const point of points) allPoints.add(point);
    for (const { point, path } of snapshots) await assertWhole({ deed, point, path, before, after });

    const numbers = isLongRun
      ? points.map((_, index) => index + 1)
      : Array.from({ length: KILLS }, (_, kill) => 1 + ((seed + kill * 7_919) % points.length));
    for (const number of numbers) {
      const path = join(folder.path, `killed-${number}`);
      copy(prepared, path);
      assert.equal(await killedAt(path, name, number), 'SIGKILL');
      await assertWhole({ deed, point: `${points[number - 1]}, killed`, path, before, after });
    }
    t.diagnostic(
      `seed ${seed}: ${points.length} points, ${snapshots.length} states of the files, killed at ${numbers}`,
    );
  });
}

test('the points are those of every write: events, extremities, state, memberships, outgoing rows, commit, answer', () => {
  for (const point of NAMED) assert.ok(allPoints.has(point), `no write has the point "${point}"`);
});

async function prepare(deed: Deed, path: string): Promise<void> {
  mkdirSync(path);
  await using server = await openRooms({ folder: path });
  await deed.prepare(server.ctx);
}

interface Snapshots {
  readonly points: string[];
  /** Of points at which the files are the same, one. */
  readonly snapshots: { readonly point: string; readonly path: string }[];
  readonly after: string;
}

/** Does the deed, with a copy of the files at each point at which they have changed. */
async function snapshotsOf(deed: Deed, prepared: string, folder: string): Promise<Snapshots> {
  const path = join(folder, 'live');
  copy(prepared, path);
  const points: string[] = [];
  const snapshots: { point: string; path: string }[] = [];
  const seen = new Set<string>();
  const watch = (point: string) => {
    points.push(point);
    const hash = hashOf(path);
    if (seen.has(hash)) return;
    seen.add(hash);
    const copied = join(folder, `point-${points.length}`);
    copy(path, copied);
    snapshots.push({ point, path: copied });
  };
  {
    await using server = await openRooms({ folder: path, watch: (db) => withFaultPoints(db, watch) });
    await deed.act(server.ctx);
  }
  return { points, snapshots, after: await look(path) };
}

/** A server that starts on what is left finds it as before or as after, and can do the deed from there. */
async function assertWhole(left: {
  readonly deed: Deed;
  readonly point: string;
  readonly path: string;
  readonly before: string;
  readonly after: string;
}): Promise<void> {
  const found = await look(left.path);
  assert.ok(
    found === left.before || found === left.after,
    `${left.point}: neither before nor after:\n${found}`,
  );
  await using server = await openRooms({ folder: left.path });
  await left.deed.act(server.ctx);
}

async function look(path: string): Promise<string> {
  await using server = await openRooms({ folder: path });
  // As a server does at its start, before anybody can ask.
  await forgetUnfinishedJoins(server.ctx);
  return await dump(server.ctx.db);
}

async function dump(db: Reader): Promise<string> {
  const tables: unknown[] = [];
  for (const text of VISIBLE) tables.push(await db.all({ name: '', text }));
  return JSON.stringify(tables, undefined, 1);
}

function copy(from: string, to: string): void {
  mkdirSync(to);
  for (const file of FILES) if (existsSync(join(from, file))) copyFileSync(join(from, file), join(to, file));
}

function hashOf(path: string): string {
  const hash = createHash('sha256');
  for (const file of FILES)
    if (existsSync(join(path, file))) hash.update(readFileSync(join(path, file))).update(file);
  return hash.digest('base64');
}

async function killedAt(path: string, name: string, number: number): Promise<string | null> {
  const program = new URL('./fault-child.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [program, path, name, String(number)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [, signal] = await once(child, 'close');
  return signal;
}
