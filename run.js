#!/usr/bin/env node
/**
 * The way in: `node run.js COMMAND [arguments]`, which is what `npm start`, `npm test` and the others call.
 * Plain JavaScript without dependencies, so that it runs on a fresh clone with any Node from 20 on.
 *
 * 1. Installs what package-lock.json names where it is missing (`npm ci`), once, also when two start together.
 * 2. Runs the command's program on Node 24 or newer: the host's own, else the one that the package `node` brings.
 * 3. Passes signals on to that program, waits for it, and exits as it did.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(fileURLToPath(import.meta.url));
const hostMajor = Number.parseInt(process.versions.node, 10);
/** Node's options for every program; `bench/` hands them on to the servers that it measures. */
const nodeFlags = [
  '--disable-warning=ExperimentalWarning',
  // What is new in memory gets 3 x 16 MiB; four times as much, which Node would take, is no faster.
  '--max-semi-space-size=16',
  // V8 makes its best code of what is called often, on a thread beside ours: here after ten times as many calls as by
  // itself. Code that is nearly as good it makes much earlier; in a burst such as a large join this is a twentieth of all.
  '--invocation-count-for-turbofan=30000',
  // V8 would take for old at once what code makes whose earlier objects lived long. A list that counts as old keeps what it
  // holds until V8 collects what is old, though it is done with: in a large join up to 100 MB, by chance.
  '--no-allocation-site-pretenuring',
  // For server/at-rest.ts.
  '--expose-gc',
];
const pinnedNode = path.join(root, 'node_modules/node/bin/node');
const installLock = path.join(root, '.kurir-install.lock');

/** `dev`: only for development: needs the packages that only development uses, and runs in the repository. */
const commands = {
  start: { dev: false, says: 'start the server', nodeArgs: program('server/main.ts') },
  test: { dev: true, says: 'run the tests', nodeArgs: testArgs },
  demo: { dev: false, says: 'two authorities talk to each other', nodeArgs: program('server/demo.ts') },
  check: { dev: true, says: 'types, format, lint, layers, sizes', nodeArgs: program('test/check.ts') },
  bench: { dev: true, says: 'run a benchmark', nodeArgs: program('bench/run.ts') },
  kurir: { dev: false, says: "the operator's command", nodeArgs: program('server/kurir.ts') },
  'test:long': {
    dev: true,
    says: 'run the property tests on many random rooms',
    nodeArgs: longTestArgs,
    env: { KURIR_TEST_ROUNDS: '20' },
  },
  'complement:read': {
    dev: true,
    says: "compare Complement's results with the table",
    nodeArgs: program('test/complement/read.ts'),
  },
  'test:peers': { dev: true, says: 'run the tests against other servers', nodeArgs: peerTestArgs },
};

await main(process.argv.slice(2));

async function main([name = '', ...args]) {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    const list = Object.entries(commands).map(
      ([word, { says }]) => `  node run.js ${word.padEnd(11)} ${says}`,
    );
    stop(`${name === '' ? 'Say what to run' : `There is no command "${name}"`}:\n${list.join('\n')}`, 2);
  }
  if (hostMajor < 20)
    stop(`Node 20 or newer is needed; this is ${process.version} (${process.execPath}).`, 1);
  await ensureInstalled(command.dev);
  process.exitCode = await runChild(nodeForPrograms(), [...nodeFlags, ...command.nodeArgs(args)], {
    // What an operator names (a configuration file, a folder) is relative to where the operator stands.
    cwd: command.dev ? root : process.cwd(),
    // Compiled code is kept on disk: it halves the time to the first answer, and saves memory.
    env: {
      NODE_COMPILE_CACHE: path.join(root, 'node_modules/.cache/kurir'),
      // glibc gives back large blocks when they are free: else those of password hashes (19 MiB each) stay.
      MALLOC_MMAP_THRESHOLD_: '8388608',
      // Each thread would get a heap of its own, and give little of it back: some 20 MB after signatures were verified.
      MALLOC_ARENA_MAX: '2',
      ...command.env,
      ...process.env,
    },
    stdio: 'inherit',
  });
}

function program(file) {
  return (args) => [path.join(root, file), ...args];
}

/** The arguments for `node --test`: given files or folders, else every test but those against other servers. */
function testArgs(args) {
  const isWhole = args.every((arg) => /^-(?!-test-(name-pattern|skip-pattern|only|shard))/.test(arg));
  // At the end of the whole suite it is told which operations no test has asked for.
  const atEnd = isWhole ? [`--test-global-setup=${path.join('test', 'harness', 'spec', 'suite.ts')}`] : [];
  return testArguments([...atEnd, ...args], {
    concurrency: Math.max(2, os.availableParallelism()),
    isMeant: (file) => !isPeerTest(file),
  });
}

/** As `testArgs`, one file at a time: these start heavy servers. */
function peerTestArgs(args) {
  return testArguments(args, { concurrency: 1, isMeant: isPeerTest });
}

/** The tests that try many random cases where `KURIR_TEST_ROUNDS` asks for them: see test/harness/long-run.ts. */
function longTestArgs(args) {
  return testArguments(args, { concurrency: Math.max(2, os.availableParallelism()), isMeant: isLongTest });
}

function testArguments(args, { concurrency, isMeant }) {
  const options = args.filter((arg) => arg.startsWith('-'));
  const given = args.filter((arg) => !arg.startsWith('-'));
  const files = given.length > 0 ? given.flatMap(testFilesIn) : testFilesIn('test').filter(isMeant);
  // Without a file, `node --test` would look for some by itself.
  if (files.length === 0) stop('There are no such tests.', 1);
  return ['--test', '--test-reporter=spec', `--test-concurrency=${concurrency}`, ...options, ...files];
}

/** What tries random cases: `test/oracle`, `test/oracles`, a network that splits and others, and each wrong event. */
function isLongTest(file) {
  return [
    path.join('test', 'oracle'),
    path.join('test', 'rooms', 'faults'),
    path.join('test', 'rooms', 'poison'),
    path.join('test', 'federation', 'device-lists-random'),
    path.join('test', 'federation', 'hostile', 'poison'),
    path.join('test', 'server', 'scanning', 'real'),
    path.join('test', 'server', 'sliding-sync', 'exact'),
    path.join('test', 'server', 'sync', 'exact'),
    path.join('test', 'peers', 'network-split'),
  ].some((start) => file.startsWith(start));
}

function isPeerTest(file) {
  return file.startsWith(path.join('test', 'peers') + path.sep);
}

function testFilesIn(given) {
  if (!fs.existsSync(path.resolve(root, given))) {
    stop(
      `There is no test file or folder ${given}; an option's value goes with it, as in --option=value.`,
      2,
    );
  }
  if (!fs.statSync(path.resolve(root, given)).isDirectory()) return [given];
  const names = fs.readdirSync(path.resolve(root, given), { recursive: true });
  return names
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => path.join(given, name))
    .sort();
}

function hostNodeRunsPrograms() {
  return hostMajor >= 24;
}

function nodeForPrograms() {
  return hostNodeRunsPrograms() ? process.execPath : pinnedNode;
}

/**
 * Runs a program in the foreground and answers its exit code, 128 + the number of the signal that ended it.
 * SIGTERM and SIGHUP go on to it, and SIGINT too unless a terminal has sent it that one itself.
 */
function runChild(file, args, options) {
  const child = spawn(file, args, options);
  const pass = (signal) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  const signals = ['SIGTERM', 'SIGHUP', 'SIGINT'];
  for (const signal of signals) process.on(signal, pass);
  const stopWatching = watchParent(() => child.kill('SIGTERM'));
  return new Promise((resolve) => {
    child.on('error', (error) => {
      stop(`Could not start ${file}: ${error.message}. Is it installed, and may it be run?`, 1);
    });
    child.on('exit', (code, signal) => {
      for (const passed of signals) process.off(passed, pass);
      stopWatching();
      resolve(signal === null ? code : 128 + os.constants.signals[signal]);
    });
  });
}

/**
 * npm, and the shell that it puts in between, can end on a signal without passing it on. Started by npm, we
 * therefore end with our parent; started by hand we may well outlive the shell, as `nohup` and `&` expect.
 */
function watchParent(onGone) {
  if (process.env.npm_lifecycle_event === undefined) return () => {};
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    onGone();
  }, 250);
  return () => clearInterval(timer);
}

/** Installs the packages unless they are there; says so first, since the first time takes a while. */
async function ensureInstalled(dev) {
  if (isInstalled(dev)) return;
  const release = await takeInstallLock();
  try {
    if (isInstalled(dev)) return; // another run.js has just done it
    say('Installing packages (npm ci); the first time this takes about a minute ...');
    await npmCi(dev);
    if (!hostNodeRunsPrograms() && !fs.existsSync(pinnedNode)) {
      stop(
        `The packages are installed, but Node 24 is not among them: npm was told not to run install\n` +
          'scripts. Run `npm rebuild node --ignore-scripts=false`, or use Node 24 or newer, then try again.',
        1,
      );
    }
  } finally {
    release();
  }
}

/**
 * Whether the packages of package-lock.json are there, by npm's own record of what it has installed. So a changed
 * lock file is noticed, and `npm ci` or `npm ci --omit=dev` run by hand count.
 */
function isInstalled(dev) {
  if (!hostNodeRunsPrograms() && !fs.existsSync(pinnedNode)) return false;
  const wanted = lockedPackages('package-lock.json');
  const installed = lockedPackages('node_modules/.package-lock.json');
  return Object.entries(wanted).every(([place, locked]) => {
    const found = installed[place];
    if (found !== undefined) return found.integrity === locked.integrity;
    // Optional: for another kind of machine, mostly.
    return place === '' || locked.optional || locked.devOptional || (locked.dev && !dev);
  });
}

function lockedPackages(file) {
  return JSON.parse(readText(path.join(root, file)) ?? '{}').packages ?? {};
}

async function npmCi(dev) {
  // Warnings are about other packages' wishes for Node versions; programs run on the Node that they wish for.
  const args = ['ci', '--loglevel=error', ...(dev ? ['--include=dev'] : [])];
  const code = await runChild('npm', args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  if (code === 0) return;
  stop(
    `npm ci failed (exit code ${code}); its own lines are above. Check that the registry can be reached\n` +
      '(`npm ping`), and that package.json and package-lock.json are as the repository has them, then try again.',
    code,
  );
}

/** One installation at a time: a file that holds the installer's process id. Waits for its holder to end. */
async function takeInstallLock() {
  const mine = `${installLock}.${process.pid}`;
  for (let waited = false; ; waited = true) {
    if (linkOnce(mine)) break;
    const holder = Number(readText(installLock) ?? 0);
    if (holder > 0 && !isAlive(holder)) fs.rmSync(installLock, { force: true });
    else if (!waited) say(`Waiting for process ${holder}, which installs packages (${installLock}) ...`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  let held = true;
  const release = () => {
    if (held) fs.rmSync(installLock, { force: true });
    held = false;
  };
  process.on('exit', release);
  return release;
}

/** Puts the lock file there, with its text already in it, unless it is there. */
function linkOnce(mine) {
  try {
    fs.writeFileSync(mine, String(process.pid));
    fs.linkSync(mine, installLock);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    return stop(`Cannot install packages into ${root}: ${error.message}`, 1);
  } finally {
    fs.rmSync(mine, { force: true });
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function say(line) {
  process.stderr.write(`kurir: ${line}\n`);
}

function stop(line, code) {
  say(line);
  process.exit(code);
}
