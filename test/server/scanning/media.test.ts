/** What is taken and served where a scanner looks for malware. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { performOnMedia } from '#server/cli/media-operations.ts';
import { performOnScans } from '#server/cli/scan-operations.ts';
import * as mediaScans from '#storage/media-scans.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { download, partsOf, picture, thumbnail, upload } from '#test/harness/media.ts';
import { run, serverEnvironment, startProcess } from '#test/harness/process.ts';
import { S3Server } from '#test/harness/s3-server.ts';
import { clamdOptions, MALWARE, SIGNATURE, startClamd, startIcap } from '#test/harness/scanner.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { file, startWebSite } from '#test/harness/web.ts';

/** An upload, and the status and error code of its answer. */
async function tryUpload(client: TestClient, body: string | Buffer): Promise<string> {
  const { status, body: answer } = await client.try('POST', '/_matrix/media/v3/upload', body);
  return `${status} ${answer.errcode ?? 'ok'}`;
}

async function statusOf(client: TestClient, uri: string): Promise<string> {
  const { status, errcode } = await download(client, uri);
  return `${status} ${errcode ?? 'ok'}`;
}

function operate(server: TestServer, operation: { [key: string]: string }) {
  return performOnScans({ ...server.ctx, inTime: (work) => work }, operation);
}

async function filesKept(server: TestServer): Promise<number> {
  return (await mediaScans.filesAfter(server.ctx.db, '', 100)).length;
}

test('an infected upload is refused with 403 M_FORBIDDEN, leaves nothing, and is told to the operator', async () => {
  await using scanner = await startClamd();
  const lines: string[] = [];
  await using server = await startServer({ ...clamdOptions(scanner), logTo: (line) => lines.push(line) });
  const alice = await register(server);
  assert.equal(await tryUpload(alice, `x${MALWARE}`), '403 M_FORBIDDEN');
  const { content_uri: reserved } = await alice.post('/_matrix/media/v1/create');
  const path = `/_matrix/media/v3/upload/${partsOf(reserved)}`;
  assert.equal((await alice.try('PUT', path, MALWARE)).status, 403);
  assert.equal(await filesKept(server), 0);
  const told = lines.filter((line) => line.includes('malware was found'));
  assert.equal(told.length, 2);
  assert.ok(told.every((line) => line.includes(alice.userId) && line.includes(SIGNATURE)));
  // The id is still there for another file.
  assert.equal((await alice.try('PUT', path, 'clean')).status, 200);
  assert.equal(await statusOf(alice, reserved), '200 ok');
});

test('a clean file is scanned once, not at each download; and again once the scanner has new signatures', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using scanner = await startClamd();
  await using server = await startServer({ ...clamdOptions(scanner), clock });
  const alice = await register(server);
  const uri = await upload(alice, 'a file');
  for (let count = 0; count < 3; count += 1) assert.equal(await statusOf(alice, uri), '200 ok');
  assert.equal(scanner.files.length, 1);
  scanner.version = 'ClamAV 1.0.0/2/Fri Jan  2 00:00:00 2026';
  scanner.alsoMalware = 'a file';
  clock.time += 120_000;
  assert.equal(await statusOf(alice, uri), '404 M_NOT_FOUND');
  assert.equal(await statusOf(alice, uri), '404 M_NOT_FOUND');
  assert.equal(scanner.files.length, 2);
  // The operator knows better.
  const media = { ...server.ctx, inTime: <T>(work: Promise<T>) => work };
  assert.equal((await performOnMedia(media, { operation: 'media.release', media: uri }))?.kind, 'done');
  scanner.version = 'ClamAV 1.0.0/3/Fri Jan  3 00:00:00 2026';
  clock.time += 120_000;
  assert.equal(await statusOf(alice, uri), '200 ok');
  assert.equal(scanner.files.length, 2);
});

test('a file of another server is scanned before anybody gets it, by any path; and it is in quarantine', async () => {
  await using scanner = await startIcap({ preview: 1_024 });
  await using fleet = await startFleet(2);
  const [here, there] = [fleet.at(0), fleet.at(1)];
  await here.restart({
    scanner: { protocol: 'icap', host: '127.0.0.1', port: scanner.port, service: '/scan' },
    legacyMedia: true,
  });
  const [alice, bob] = [await register(here), await register(there)];
  const bytes = await picture(100, 100);
  const infected = await upload(bob, Buffer.concat([bytes, Buffer.from(MALWARE)]), { type: 'image/png' });
  const clean = await upload(bob, bytes, { type: 'image/png' });
  const query = { width: 32, height: 32 };
  assert.equal((await thumbnail(alice, infected, query)).status, 404);
  const answers = await Promise.all([1, 2, 3].map(() => statusOf(alice, infected)));
  assert.deepEqual(answers, Array(3).fill('404 M_NOT_FOUND'));
  const legacy = `/_matrix/media/v3/download/${partsOf(infected)}`;
  assert.equal((await alice.try('GET', legacy)).status, 404);
  assert.equal(scanner.files.length, 1);
  assert.equal((await thumbnail(alice, clean, query)).status, 200);
  assert.equal(await statusOf(alice, clean), '200 ok');
  assert.equal(scanner.files.length, 2);
});

test('closed: while the scanner does not answer uploads are refused, and what it never saw is withheld', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using scanner = await startClamd();
  await using fleet = await startFleet(2, { clock });
  const [here, there] = [fleet.at(0), fleet.at(1)];
  await here.restart(clamdOptions(scanner));
  const [alice, bob] = [await register(here), await register(there)];
  const known = await upload(alice, 'known');
  const [remote, infected] = [await upload(bob, 'remote'), await upload(bob, MALWARE)];
  scanner.behaviour = 'gone';
  clock.time += 120_000;
  assert.equal(await tryUpload(alice, 'new'), '503 M_UNKNOWN');
  assert.equal(await statusOf(alice, remote), '503 M_UNKNOWN');
  // What was found clean before is not held back by a failure of the scanner.
  assert.equal(await statusOf(alice, known), '200 ok');
  scanner.behaviour = 'right';
  clock.time += 120_000;
  assert.equal(await tryUpload(alice, 'new'), '200 ok');
  assert.equal(await statusOf(alice, remote), '200 ok');
  assert.equal(await statusOf(alice, infected), '404 M_NOT_FOUND');
});

test('open: while the scanner does not answer files are let through, and scanned later', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using scanner = await startClamd();
  await using server = await startServer({ ...clamdOptions(scanner), scannerFailure: 'open', clock });
  const alice = await register(server);
  scanner.behaviour = 'gone';
  clock.time += 120_000;
  const [infected, other] = [await upload(alice, MALWARE), await upload(alice, 'clean')];
  assert.equal(await statusOf(alice, infected), '200 ok');
  scanner.behaviour = 'right';
  clock.time += 120_000;
  assert.equal(await statusOf(alice, other), '200 ok');
  // Without anybody who asks for it.
  await server.ctx.scanning?.backlog.run((known) => known === undefined);
  assert.equal(scanner.files.length, 2);
  assert.equal(await statusOf(alice, infected), '404 M_NOT_FOUND');
});

test('a file that cannot be read keeps no other from being scanned, and a bucket that is away ends the run', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using scanner = await startClamd();
  await using store = await S3Server.start();
  await using server = await startServer({
    ...clamdOptions(scanner),
    ...{ scannerFailure: 'open', mediaBucket: store.option(), clock },
  });
  const alice = await register(server);
  scanner.behaviour = 'gone';
  clock.time += 120_000;
  for (const text of [MALWARE, 'one', 'two']) await upload(alice, text);
  scanner.behaviour = 'right';
  clock.time += 120_000;
  const run = () => server.ctx.scanning?.backlog.run((known) => known === undefined);
  const counts = { clean: 0, infected: 0, unscanned: 0 };
  store.fault = ({ method }, response) => {
    if (method === 'GET') response.writeHead(403).end();
    return method === 'GET';
  };
  assert.deepEqual(await run(), { ...counts, isWhole: false });
  const [first] = store.files.toSorted();
  store.fault = ({ method, url }, response) => {
    const isFirst = method === 'GET' && url?.endsWith(String(first)) === true;
    if (isFirst) response.writeHead(200, { 'content-length': 100 }).write('x', () => response.destroy());
    return isFirst;
  };
  assert.equal((await run())?.unscanned, 1);
  store.fault = () => false;
  assert.equal((await run())?.isWhole, true);
  assert.deepEqual(await run(), { ...counts, isWhole: true }, 'nothing is left');
});

test('a scanner that hangs holds nothing up for longer than its time, and no more files than may be at once', async () => {
  await using scanner = await startClamd();
  await using server = await startServer({ ...clamdOptions(scanner), scannerAtOnce: 2 });
  const alice = await register(server);
  await upload(alice, 'first');
  await server.restart({ scannerTimeout: 300 });
  scanner.behaviour = 'hangs';
  const answers = await Promise.all([1, 2, 3, 4, 5, 6].map((number) => tryUpload(alice, `file ${number}`)));
  assert.deepEqual(answers, Array(6).fill('503 M_UNKNOWN'));
  // Beside the two files: a question for its signatures.
  assert.ok(scanner.mostAtOnce <= 3, String(scanner.mostAtOnce));
  assert.equal(await filesKept(server), 1);
});

test('what is larger than the scanner is given is refused, or let through where failures are', async () => {
  await using scanner = await startClamd();
  await using server = await startServer({ ...clamdOptions(scanner), scannerMaxSize: 1_000 });
  const alice = await register(server);
  assert.equal(await tryUpload(alice, randomBytes(1_001)), '413 M_TOO_LARGE');
  assert.equal(await tryUpload(alice, randomBytes(1_000)), '200 ok');
  await server.restart({ scannerFailure: 'open' });
  assert.equal(await tryUpload(alice, randomBytes(1_001)), '200 ok');
  assert.equal(scanner.files.length, 1);
});

test('the operator sees whether the scanner answers and what it found, and has files scanned again', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using scanner = await startClamd();
  await using server = await startServer({ clock });
  assert.equal((await operate(server, { operation: 'media.scanning' }))?.kind, 'refused');
  const alice = await register(server);
  const [first, second] = [await upload(alice, 'first'), await upload(alice, MALWARE)];
  scanner.behaviour = 'gone';
  await server.restart(clamdOptions(scanner));
  const down = await operate(server, { operation: 'media.scanning' });
  assert.ok(down?.kind === 'done' && down.isWrong === true);
  assert.equal((await operate(server, { operation: 'media.rescan' }))?.kind, 'refused');
  scanner.behaviour = 'right';
  clock.time += 120_000;
  const all = await operate(server, { operation: 'media.rescan' });
  assert.deepEqual(all, {
    kind: 'done',
    lines: ['Files scanned: 1 clean, 1 infected, 0 that the scanner could not deal with.'],
  });
  const up = await operate(server, { operation: 'media.scanning' });
  assert.ok(up?.kind === 'done' && up.lines.includes('files:     1 clean, 1 infected, 0 allowed'));
  assert.ok(up.lines.some((line) => line.endsWith(scanner.version)));
  assert.equal(await statusOf(alice, first), '200 ok');
  assert.equal(await statusOf(alice, second), '404 M_NOT_FOUND');
  const one = await operate(server, { operation: 'media.rescan', media: second });
  assert.ok(one?.kind === 'done' && one.lines[0]?.includes(`is infected (${SIGNATURE})`));
  for (const media of ['hello', `mxc://${server.serverName}/unknown`])
    assert.equal((await operate(server, { operation: 'media.rescan', media }))?.kind, 'refused');
});

test('the commands work while the server runs and while it does not', async () => {
  await using folder = await temporaryFolder();
  await using scanner = await startClamd();
  const env = {
    ...serverEnvironment(folder.path),
    KURIR_REGISTRATION: 'open',
    KURIR_SCANNER: `clamd://127.0.0.1:${scanner.port}`,
  };
  const kurir = (words: string, more = {}) =>
    run('server/kurir.ts', words.split(' '), { env: { ...env, ...more } });
  let uri = '';
  const commands = async (): Promise<void> => {
    const status = await kurir('media scanning');
    assert.deepEqual([status.code, status.err], [0, '']);
    assert.ok(status.out.includes(scanner.version), status.out);
    assert.match((await kurir('media rescan')).out, /^Files scanned: /);
    assert.match((await kurir(`media rescan ${uri}`)).out, /is clean/);
    assert.match((await kurir('media rescan hello')).err, /"hello" is not the address of a media/);
  };
  {
    await using server = await startProcess(env);
    uri = await upload(await register(server, 'alice'), 'x');
    await commands();
    await server.stop();
  }
  await commands();
  const without = await kurir('media scanning', { KURIR_SCANNER: '' });
  assert.deepEqual([without.code, /no scanner is configured/.test(without.err)], [1, true]);
  for (const wrong of ['clamav', 'clamd://', 'icap://x:99999/y', 'clamd://x/service', 'http://x']) {
    const refused = await kurir('media scanning', { KURIR_SCANNER: wrong });
    assert.match(refused.err, /KURIR_SCANNER is/, wrong);
  }
  scanner.behaviour = 'gone';
  const down = await kurir('media scanning');
  assert.deepEqual([down.code, /answers: {3}no: /.test(down.out)], [1, true]);
});

test('what is protected from quarantine is withheld nevertheless where malware was found in it', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using scanner = await startClamd();
  await using server = await startServer({ ...clamdOptions(scanner), scannerFailure: 'open', clock });
  const alice = await register(server);
  const uri = await upload(alice, 'a file');
  const ctx = { ...server.ctx, inTime: <T>(work: Promise<T>) => work };
  assert.equal((await performOnMedia(ctx, { operation: 'media.protect', media: uri }))?.kind, 'done');
  scanner.alsoMalware = 'a file';
  await server.ctx.scanning?.backlog.run(() => true);
  for (const behaviour of ['right', 'gone'] as const) {
    scanner.behaviour = behaviour;
    clock.time += 120_000;
    assert.equal(await statusOf(alice, uri), '404 M_NOT_FOUND');
  }
});

test('the picture of a preview is scanned before anything decodes it; without one the preview is shown', async () => {
  await using scanner = await startClamd();
  await using site = await startWebSite();
  const previews = { urlPreviews: true, urlPreviewAllowPrivate: true };
  await using server = await startServer({ ...clamdOptions(scanner), ...previews });
  const alice = await register(server);
  const clean = await picture(100, 100);
  site.pages.set('/clean.png', file(clean, 'image/png'));
  site.pages.set('/bad.png', file(Buffer.concat([clean, Buffer.from(MALWARE)]), 'image/png'));
  for (const name of ['clean', 'bad']) {
    const head = `<meta property="og:title" content="${name}"><meta property="og:image" content="/${name}.png">`;
    site.pages.set(`/${name}`, `<html><head>${head}</head></html>`);
  }
  const shown = async (name: string) => {
    const url = encodeURIComponent(`${site.url}/${name}`);
    return (await alice.try('GET', `/_matrix/client/v1/media/preview_url?url=${url}`)).body;
  };
  const { 'og:image': uri } = await shown('clean');
  assert.equal(await statusOf(alice, uri), '200 ok');
  assert.equal(scanner.files.length, 1);
  const { 'og:title': title, 'og:image': none } = await shown('bad');
  assert.deepEqual([title, none], ['bad', undefined]);
  assert.equal(await filesKept(server), 1);
});
