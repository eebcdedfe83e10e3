/** What an operator can mend stops the start with one line that names it, and no stack trace. */

import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAuthority } from '#test/harness/certificates.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { type Environment, run, serverEnvironment, startProcess } from '#test/harness/process.ts';

async function assertRefused(env: Environment, says: RegExp): Promise<void> {
  // Of a slow machine the log would say so before.
  const quiet = { ...env, KURIR_LOG_LEVEL: 'error' };
  const started = await startProcess(quiet).catch((error: Error) => error.message);
  if (typeof started !== 'string') {
    await started.stop('SIGKILL');
    assert.fail(`the server starts, instead of saying ${says}`);
  }
  const [, code, line = ''] = /^the server ended with (\d+): (.*)$/s.exec(started) ?? [];
  assert.equal(code, '1', started);
  assert.match(line, says);
  assert.equal(line.split('\n').length, 2, line);
}

test('files that hold no certificate, or not the key of one, stop the start, and config check finds them', async () => {
  await using folder = await temporaryFolder();
  const file = async (name: string, text: string) => {
    await writeFile(join(folder.path, name), text);
    return join(folder.path, name);
  };
  const authority = await createAuthority();
  const [one, other] = [await authority.issue(['localhost']), await authority.issue(['localhost'])];
  const cert = await file('one.crt', one.cert);
  const key = await file('one.key', one.key);
  const wrongKey = await file('other.key', other.key);
  const text = await file('text.pem', 'This is no certificate.');
  const env = serverEnvironment(join(folder.path, 'data'));
  const cases: [Environment, RegExp][] = [
    [
      { KURIR_TLS_CERT: text, KURIR_TLS_KEY: key },
      /^kurir: tls_cert: .*text\.pem holds no certificate: use /,
    ],
    [
      { KURIR_TLS_CERT: cert, KURIR_TLS_KEY: text },
      /^kurir: tls_key: .*text\.pem holds no private key.*: use /,
    ],
    [
      { KURIR_TLS_CERT: cert, KURIR_TLS_KEY: wrongKey },
      /^kurir: tls_key: .*other\.key .*not .*one\.crt: use /,
    ],
    [
      { KURIR_FEDERATION_CA: `${cert},${text}` },
      /^kurir: federation_ca: .*text\.pem holds no certificate: use /,
    ],
    [{ KURIR_FEDERATION_CA: join(folder.path, 'none') }, /^kurir: federation_ca: .*none cannot be read/],
  ];
  for (const [wrong, says] of cases) {
    await assertRefused({ ...env, ...wrong }, says);
    const checked = await run('server/kurir.ts', ['config', 'check'], { env: { ...env, ...wrong } });
    assert.equal(checked.code, 1, checked.out);
    assert.match(checked.err, says);
  }
});

test('a data folder that is none, and a database that is none, stop the start', async () => {
  await using folder = await temporaryFolder();
  const place = (name: string) => join(folder.path, name);
  await writeFile(place('file'), '');
  await mkdir(place('garbage'));
  await writeFile(place('garbage/kurir.db'), 'x'.repeat(8_192));
  await mkdir(place('folder/kurir.db'), { recursive: true });
  const cases: [string, RegExp][] = [
    [place('file'), /file already exists.*: check data_dir \(KURIR_DATA_DIR\)/],
    [place('file/below'), /file already exists.*: check data_dir \(KURIR_DATA_DIR\)/],
    // Where nobody can make folders: it is no such place, for ever.
    ['/proc/kurir', /no such file or directory.*: check data_dir \(KURIR_DATA_DIR\)/],
    [place('garbage'), /the database in .*garbage cannot be used \(file is not a database\): .*backup/],
    [place('folder'), /the database in .*folder cannot be used .*: .*KURIR_DATA_DIR/],
  ];
  for (const [dataDir, says] of cases) await assertRefused(serverEnvironment(dataDir), says);
});

test('a folder for the control socket that others may write to stops the start', async () => {
  await using folder = await temporaryFolder();
  const temporary = join(folder.path, 'tmp');
  const shared = join(temporary, `kurir-${process.getuid?.()}`);
  await mkdir(shared, { recursive: true });
  await chmod(shared, 0o777);
  // Too long for a socket: that is made among the temporary files then.
  const dataDir = join(folder.path, 'x'.repeat(120));
  const env = { ...serverEnvironment(dataDir), TMPDIR: temporary };
  await assertRefused(env, /^kurir: .*kurir-\d+ .*: remove it, or set data_dir \(KURIR_DATA_DIR\)/);
  await rm(shared, { recursive: true });
  await using server = await startProcess(env);
  assert.equal(statSync(shared).mode & 0o777, 0o700);
  assert.equal(await server.stop(), 0);
});

test('a host that does not exist is named with its option', async () => {
  await using folder = await temporaryFolder();
  const env = serverEnvironment(folder.path);
  await assertRefused(
    { ...env, KURIR_FEDERATION_LISTEN: 'nowhere.invalid:0' },
    /^kurir: .*nowhere\.invalid.*federation_listen \(KURIR_FEDERATION_LISTEN\)/,
  );
});

test('a self-signed certificate that was damaged is made anew', async () => {
  await using folder = await temporaryFolder();
  const certificate = join(folder.path, 'federation.crt');
  await writeFile(certificate, 'damaged');
  await writeFile(join(folder.path, 'federation.key'), 'damaged');
  await using server = await startProcess(serverEnvironment(folder.path));
  assert.match(await readFile(certificate, 'utf8'), /BEGIN CERTIFICATE/);
  assert.equal(await server.stop(), 0);
});
