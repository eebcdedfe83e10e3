import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

/** Stands for the server: tells of its life in `events`, and ends with 7 on SIGTERM. */
const PROGRAM = `
import fs from 'node:fs';
const tell = (line: string) => fs.appendFileSync(new URL('../events', import.meta.url), line + '\\n');
process.on('SIGTERM', () => { tell('SIGTERM'); process.exit(7); });
setInterval(() => {}, 1000);
tell(['started', process.cwd(), ...process.argv.slice(2)].join(' '));
if (process.argv.includes('--end')) process.exit(3);
`;

/** Stands for npm: takes its time, then records as installed what the lock file names, dev packages included. */
const NPM = `#!/bin/sh
echo "npm $*" >> events
sleep 0.5
if [ -e npm-fails ]; then echo "npm error ENETUNREACH" >&2; exit 5; fi
mkdir -p node_modules && cp package-lock.json node_modules/.package-lock.json
`;

const LOCK = {
  packages: {
    '': { name: 'kurir' },
    'node_modules/fastify': { integrity: 'sha512-fastify' },
    'node_modules/typescript': { integrity: 'sha512-typescript', dev: true },
    'node_modules/for-another-system': { integrity: 'sha512-other', optional: true },
  },
};

interface Tree {
  readonly root: string;
  run(...args: string[]): ChildProcess;
  events(): string[];
  write(file: string, text: string): void;
  writeInstalled(...places: string[]): void;
}

/** A working tree with the real run.js and made-up programs, its packages installed. */
function tree(t: TestContext): Tree {
  const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'kurir-run-')));
  t.after(() => fs.rmSync(root, { recursive: true, force: true }));
  const write = (file: string, text: string) => {
    fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    fs.writeFileSync(path.join(root, file), text);
  };
  fs.copyFileSync(path.join(import.meta.dirname, '../run.js'), path.join(root, 'run.js'));
  write('package.json', '{ "type": "module" }');
  write('package-lock.json', JSON.stringify(LOCK));
  write('server/main.ts', PROGRAM);
  write('bin/npm', NPM);
  fs.chmodSync(path.join(root, 'bin/npm'), 0o755);
  const writeInstalled = (...places: string[]) => {
    const packages = Object.fromEntries(
      Object.entries(LOCK.packages).filter(([place]) => places.includes(place)),
    );
    write('node_modules/.package-lock.json', JSON.stringify({ packages }));
  };
  writeInstalled('node_modules/fastify', 'node_modules/typescript');
  const events = () =>
    fs.existsSync(path.join(root, 'events'))
      ? fs.readFileSync(path.join(root, 'events'), 'utf8').trim().split('\n')
      : [];
  const run = (...args: string[]) =>
    spawn(process.execPath, [path.join(root, 'run.js'), ...args], { cwd: root, env: environment(root) });
  return { root, run, events, write, writeInstalled };
}

/** Ours, with the made-up npm first, as if not started by npm and not inside a test. */
function environment(root: string): NodeJS.ProcessEnv {
  const { npm_lifecycle_event: _, NODE_TEST_CONTEXT: __, ...env } = process.env;
  return { ...env, PATH: `${path.join(root, 'bin')}:${env.PATH}` };
}

async function exit(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = '';
  child.stdout?.on('data', (text) => (output += text));
  child.stderr?.on('data', (text) => (output += text));
  const [code] = await once(child, 'close');
  return { code, output };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(20);
}

test('run: a program gets its arguments and the folder it was called from; its exit code is ours', async (t) => {
  const { root, events, write } = tree(t);
  write('elsewhere/file', '');
  const cwd = path.join(root, 'elsewhere');
  const child = spawn(process.execPath, ['../run.js', 'start', '--config', 'a.yaml', '--end'], {
    cwd,
    env: environment(root),
  });
  assert.equal((await exit(child)).code, 3);
  assert.deepEqual(events(), [`started ${cwd} --config a.yaml --end`]);
});

test('run: SIGTERM goes on to the program, and we end as it does', async (t) => {
  const { run, events } = tree(t);
  const child = run('start');
  await until(() => events().length === 1);
  child.kill('SIGTERM');
  assert.equal((await exit(child)).code, 7);
  assert.equal(events()[1], 'SIGTERM');
});

test('run: a program that a signal ends gives 128 and the number of the signal', async (t) => {
  const { run, write } = tree(t);
  write('server/main.ts', "process.kill(process.pid, 'SIGKILL');");
  assert.equal((await exit(run('start'))).code, 128 + os.constants.signals.SIGKILL);
});

test('run: started by npm, the program ends when its parent is killed', async (t) => {
  const { root, events } = tree(t);
  const parent = spawn('/bin/sh', ['-c', `"${process.execPath}" run.js start & wait`], {
    cwd: root,
    env: { ...environment(root), npm_lifecycle_event: 'start' },
  });
  await until(() => events().length === 1);
  parent.kill('SIGKILL');
  await until(() => events().includes('SIGTERM'));
});

test('run: installed packages are not installed again; a lock file that names others is', async (t) => {
  const { run, events, write } = tree(t);
  await exit(run('start', '--end'));
  assert.deepEqual(events().filter(isInstall), []);
  const updated = { packages: { ...LOCK.packages, 'node_modules/fastify': { integrity: 'sha512-newer' } } };
  write('package-lock.json', JSON.stringify(updated));
  await exit(run('start', '--end'));
  await exit(run('start', '--end'));
  assert.deepEqual(events().filter(isInstall), ['npm ci --loglevel=error']);
});

test('run: an install without development packages is enough to start, and not to check', async (t) => {
  const { run, events, write, writeInstalled } = tree(t);
  write('test/check.ts', '');
  writeInstalled('node_modules/fastify');
  await exit(run('start', '--end'));
  assert.deepEqual(events().filter(isInstall), []);
  assert.equal((await exit(run('check'))).code, 0);
  assert.deepEqual(events().filter(isInstall), ['npm ci --loglevel=error --include=dev']);
});

test('run: two that start together on a fresh clone install once, and both run', async (t) => {
  const { root, run, events } = tree(t);
  fs.rmSync(path.join(root, 'node_modules'), { recursive: true });
  const ends = await Promise.all([exit(run('start', '--end')), exit(run('start', '--end'))]);
  assert.deepEqual(
    ends.map(({ code }) => code),
    [3, 3],
  );
  assert.equal(events().filter(isInstall).length, 1);
  assert.deepEqual(
    fs.readdirSync(root).filter((name) => name.includes('lock')),
    ['package-lock.json'],
  );
});

test('run: the lock of an installer that was killed does not stand in the way', async (t) => {
  const { root, run, write } = tree(t);
  fs.rmSync(path.join(root, 'node_modules'), { recursive: true });
  const gone = spawn(process.execPath, ['--version']);
  await once(gone, 'exit');
  write('.kurir-install.lock', String(gone.pid));
  assert.equal((await exit(run('start', '--end'))).code, 3);
});

test('run: an installation that fails stops with its exit code and says what to do', async (t) => {
  const { root, run, events, write } = tree(t);
  fs.rmSync(path.join(root, 'node_modules'), { recursive: true });
  write('npm-fails', '');
  const { code, output } = await exit(run('start'));
  assert.equal(code, 5);
  assert.match(output, /npm error ENETUNREACH/);
  assert.match(output, /npm ci failed .* then try again/s);
  assert.deepEqual(events(), ['npm ci --loglevel=error']);
});

test('run: tests against other servers run only when asked for; given files and options go through', async (t) => {
  const { run, write } = tree(t);
  const sample = (name: string) => `import { test } from 'node:test';\ntest('${name}', () => {});\n`;
  write('test/one.test.ts', sample('one'));
  write('test/keys/two.test.ts', sample('two') + sample('three').replace(/^.*\n/, ''));
  write('test/peers/four.test.ts', sample('four'));
  write('test/harness/five.ts', sample('five'));
  write('test/harness/spec/suite.ts', 'export const isWholeSuite = true;');
  const ran = async (...args: string[]) => {
    const { output } = await exit(run(...args));
    return [...output.matchAll(/^✔ (\w+) /gm)].map(([, name]) => name).sort();
  };
  assert.deepEqual(await ran('test'), ['one', 'three', 'two']);
  assert.deepEqual(await ran('test:peers'), ['four']);
  assert.deepEqual(await ran('test', 'test/one.test.ts'), ['one']);
  assert.deepEqual(await ran('test', '--test-name-pattern=two', 'test/keys'), ['two']);
  const { code, output } = await exit(run('test', 'test/ones.test.ts'));
  assert.equal(code, 2);
  assert.match(output, /There is no test file or folder test\/ones\.test\.ts/);
});

test('run: without a command, or with one that does not exist, the commands are listed', async (t) => {
  const { run } = tree(t);
  for (const args of [[], ['toString'], ['strat']]) {
    const { code, output } = await exit(run(...args));
    assert.equal(code, 2);
    assert.match(output, /node run\.js start +start the server/);
  }
});

function isInstall(event: string): boolean {
  return event.startsWith('npm ');
}
