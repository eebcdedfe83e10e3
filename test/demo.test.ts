import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { login } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { until } from '#test/harness/until.ts';

const DEMO = path.resolve(import.meta.dirname, '../server/demo.ts');

test('the demo with --once tells its story and ends with 0, leaving nothing behind', async () => {
  await using demo = await startDemo('--once');
  assert.equal(await demo.ended, 0, demo.output());
  const story = demo.output();
  assert.match(story, /Anna: +Good morning.*\(Ben has read it\)/);
  assert.match(story, /is stopped\. Anna writes on/);
  for (const name of ['Anna', 'Ben'])
    assert.match(story, new RegExp(`${name} has all 8 messages, each once`));
  assert.match(story, /All is well\./);
  assert.ok(!story.includes('\x1b['), 'no colours where no person looks on');
  assert.deepEqual(await demo.leftovers(), []);
});

test('without it both servers stay up for the printed logins, and Ctrl-C stops all', async () => {
  await using demo = await startDemo();
  await until(() => demo.output().includes('Ctrl-C'), 'the end of the story');
  const logins = [
    ...demo.output().matchAll(/address +(?<url>http\S+)\s+user +(?<user>\S+)\s+password +(?<password>\S+)/g),
  ].map(({ groups }) => groups);
  assert.equal(logins.length, 2);
  const users = await Promise.all(
    logins.map((given) => login({ clientUrl: given?.url ?? '' }, given?.user ?? '', given?.password ?? '')),
  );
  for (const user of users) assert.equal((await user.get('/joined_rooms')).joined_rooms.length, 1);
  demo.process.kill('SIGINT');
  assert.equal(await demo.ended, 0, demo.output());
  assert.deepEqual(await demo.leftovers(), []);
});

test('a server that dies makes the demo fail, saying which', async () => {
  await using demo = await startDemo();
  await until(() => demo.output().includes('Ctrl-C'), 'the end of the story');
  const pid = Number(/Harbour Office .* process (\d+)/.exec(demo.output())?.[1]);
  process.kill(pid, 'SIGKILL');
  assert.equal(await demo.ended, 1);
  assert.match(demo.output(), /failed: the server of the Harbour Office ended by itself \(SIGKILL\)/);
  assert.deepEqual(await demo.leftovers(), []);
});

test('the demo refuses what it does not know', async () => {
  await using demo = await startDemo('--twice');
  assert.equal(await demo.ended, 2);
  assert.match(demo.output(), /npm run demo -- --once/);
});

interface Demo extends AsyncDisposable {
  readonly process: ChildProcess;
  readonly ended: Promise<number>;
  /** All that it has printed so far. */
  output(): string;
  /** Files that it has not deleted, and servers of its own that still run. */
  leftovers(): Promise<string[]>;
}

async function startDemo(...args: string[]): Promise<Demo> {
  const folder = await temporaryFolder();
  const temporary = path.join(folder.path, 'tmp');
  await mkdir(temporary);
  const demo = spawn(process.execPath, [DEMO, ...args], { env: { ...process.env, TMPDIR: temporary } });
  let output = '';
  const collect = (chunk: string) => {
    output += chunk;
  };
  demo.stdout.setEncoding('utf8').on('data', collect);
  demo.stderr.setEncoding('utf8').on('data', collect);
  const ended = once(demo, 'close').then(([code]) => code);
  return {
    process: demo,
    ended,
    output: () => output,
    leftovers: async () => {
      const pids = [...output.matchAll(/process (\d+)/g)].map(([, pid]) => Number(pid));
      return [...(await readdir(temporary)), ...pids.filter(isAlive).map((pid) => `process ${pid}`)];
    },
    [Symbol.asyncDispose]: async () => {
      demo.kill('SIGTERM');
      await ended;
      await folder[Symbol.asyncDispose]();
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    // No such process.
    return false;
  }
}
