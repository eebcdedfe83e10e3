/** Scanners that others wrote, where Debian has them: ClamAV's daemon, and c-icap in front of it. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryFolder } from '#test/harness/databases.ts';
import { freePort } from '#test/harness/free-port.ts';
import { MALWARE, SIGNATURE } from '#test/harness/scanner.ts';

export const CLAMD = '/usr/sbin/clamd';
export const C_ICAP = '/usr/bin/c-icap';
const MODULES = '/usr/lib/x86_64-linux-gnu/c_icap';

/** Why there is no clamd, or nothing. */
export const withoutClamd = existsSync(CLAMD)
  ? false
  : `there is no ${CLAMD} (apt-get install clamav-daemon)`;
/** Why there is no c-icap with a scanner, or nothing. */
export const withoutIcap =
  existsSync(C_ICAP) && existsSync(join(MODULES, 'virus_scan.so')) && withoutClamd === false
    ? false
    : 'there is no c-icap (apt-get install c-icap libc-icap-mod-virus-scan clamav-daemon)';

export interface RealClamd extends AsyncDisposable {
  readonly socket: string;
  /** Knows more malware from now on, under a new version of its signatures. */
  learn(text: string, name: string): Promise<void>;
}

/** `maxBytes`: its `StreamMaxLength`. */
export async function startRealClamd(maxBytes = 20_000_000): Promise<RealClamd> {
  const folder = await temporaryFolder();
  const [database, socket, config] = ['db', 'clamd.ctl', 'clamd.conf'].map((name) =>
    join(folder.path, name),
  ) as [string, string, string];
  const signatures = new Map([[SIGNATURE, MALWARE]]);
  const write = () =>
    writeFile(
      join(database, 'test.ndb'),
      [...signatures].map(([name, text]) => `${name}:0:*:${Buffer.from(text).toString('hex')}\n`).join(''),
    );
  await mkdir(database);
  await write();
  const lines = [
    `DatabaseDirectory ${database}`,
    `LocalSocket ${socket}`,
    'Foreground yes',
    `StreamMaxLength ${maxBytes}`,
  ];
  await writeFile(config, `${lines.join('\n')}\n`);
  const program = spawn(CLAMD, ['-c', config], { stdio: 'ignore' });
  await untilOpen(program, () => connect(socket));
  return {
    socket,
    learn: async (text, name) => {
      signatures.set(name, text);
      await write();
      const asked = connect(socket);
      asked.end('zRELOAD\0');
      asked.resume();
      await once(asked, 'close');
    },
    [Symbol.asyncDispose]: async () => {
      await end(program);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** c-icap, whose service `/avscan` asks the daemon. */
export async function startRealIcap({
  socket,
}: RealClamd): Promise<{ readonly port: number } & AsyncDisposable> {
  const folder = await temporaryFolder();
  const port = await freePort();
  const config = join(folder.path, 'c-icap.conf');
  const lines = [
    `PidFile ${join(folder.path, 'pid')}`,
    `CommandsSocket ${join(folder.path, 'ctl')}`,
    `Port 127.0.0.1:${port}`,
    `TmpDir ${folder.path}`,
    'StartServers 1',
    'MaxServers 1',
    `ModulesDir ${MODULES}`,
    `ServicesDir ${MODULES}`,
    'TemplateDir /usr/share/c_icap/templates/',
    'LoadMagicFile /etc/c-icap/c-icap.magic',
    `ServerLog ${join(folder.path, 'server.log')}`,
    `AccessLog ${join(folder.path, 'access.log')}`,
    'Module common clamd_mod.so',
    `clamd_mod.ClamdSocket ${socket}`,
    'Service antivirus_module virus_scan.so',
    'ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple',
    'virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE',
    'virus_scan.MaxObjectSize 100M',
    'virus_scan.DefaultEngine clamd',
  ];
  await writeFile(config, `${lines.join('\n')}\n`);
  const program = spawn(C_ICAP, ['-N', '-f', config], { stdio: 'ignore' });
  await untilOpen(program, () => connect(port, '127.0.0.1'));
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      await end(program);
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function untilOpen(program: ChildProcess, open: () => ReturnType<typeof connect>): Promise<void> {
  for (let tries = 0; tries < 300; tries += 1) {
    if (program.exitCode !== null) throw new Error(`it ended with ${program.exitCode}`);
    const socket = open();
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) return;
    await sleep(100);
  }
  throw new Error('it does not listen');
}

async function end(program: ChildProcess): Promise<void> {
  if (program.exitCode !== null || program.signalCode !== null) return;
  const ended = once(program, 'exit');
  program.kill('SIGTERM');
  const kill = setTimeout(() => program.kill('SIGKILL'), 5_000);
  await ended;
  clearTimeout(kill);
}
