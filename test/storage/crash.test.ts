import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSqliteReadOnly } from '#storage/sqlite.ts';
import { temporaryFolder } from '#test/harness/databases.ts';

const ROUNDS = 8;

interface Round {
  readonly acknowledged: number[];
  readonly announced: number[];
  readonly signal: string | null;
}

async function run(path: string, mode: string): Promise<Round> {
  const file = new URL('./crash-child.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [file, path, mode], { stdio: ['ignore', 'pipe', 'inherit'] });
  const chunks: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk));
  const [, signal] = await once(child, 'close');
  const lines = chunks.join('').split('\n');
  const positions = (word: string) =>
    lines.filter((line) => line.startsWith(word)).map((line) => Number(line.slice(word.length)));
  return { acknowledged: positions('ack '), announced: positions('mem '), signal };
}

async function positionsIn(path: string, table: string): Promise<number[]> {
  await using db = await openSqliteReadOnly(path);
  const rows = await db.all<[], { position: number }>({
    name: '',
    text: `SELECT position FROM ${table} ORDER BY position`,
  });
  return rows.map((row) => row.position);
}

test('killed between commit and publication: nothing acknowledged is lost, no position comes twice', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'kurir.db');
  let highest = 0;
  let stored: number[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    const { acknowledged, announced, signal } = await run(path, 'serve');
    assert.equal(signal, 'SIGKILL');
    assert.ok(acknowledged.length > 0 && announced.length > 0);
    const before = new Set(stored);
    stored = await positionsIn(path, 'crash_events');
    const held = new Set(stored);
    assert.deepEqual(
      acknowledged.filter((position) => !held.has(position)),
      [],
      'every acknowledged write is there',
    );
    const fresh = [...announced, ...stored.filter((position) => !before.has(position))];
    assert.equal(new Set(fresh).size, fresh.length, 'no position was given twice');
    assert.ok(Math.min(...fresh) > highest, `round ${round} went back: ${Math.min(...fresh)} <= ${highest}`);
    highest = Math.max(...fresh);
  }
  await run(path, 'drain');
  assert.deepEqual(await positionsIn(path, 'crash_consumed'), stored, 'the consumer saw every event, once');
});
