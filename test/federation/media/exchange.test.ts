/** Media between servers: two of ours, and one that answers as the test wants. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { fetchElsewhere } from '#federation/media/elsewhere.ts';
import { boundaryOf } from '#federation/media/multipart.ts';
import { AddressGuard } from '#federation/network/address-guard.ts';
import { Dialer } from '#federation/network/dial.ts';
import { quarantine } from '#storage/media.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { download, getBytes, partsOf, picture, thumbnail, upload } from '#test/harness/media.ts';
import { type Peer, type PeerAnswer, type PeerRequest, startPeer } from '#test/harness/peer.ts';
import type { TestServer, TestServerOptions } from '#test/harness/server.ts';
import { askedByTest } from '#test/harness/spec/watch.ts';

const FEDERATION = '/_matrix/federation/v1/media/download/';
const LEGACY = '/_matrix/media/v3/download/';

interface Scene extends AsyncDisposable {
  readonly server: TestServer;
  readonly alice: TestClient;
  readonly peer: Peer;
}

/** A server of ours with a user, and a peer that answers requests for media by `answer`. */
async function scene(
  answer: (request: PeerRequest) => PeerAnswer,
  options: TestServerOptions = {},
): Promise<Scene> {
  const fleet = await startFleet(1, options);
  const peer = await startPeer({ authority: fleet.authority, answer });
  const server = fleet.at(0);
  const dispose = async () => {
    await peer[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
  };
  return { server, peer, alice: await register(server), [Symbol.asyncDispose]: dispose };
}

const notFound: PeerAnswer = { status: 404, json: { errcode: 'M_NOT_FOUND', error: 'No.' } };
const unrecognized: PeerAnswer = { status: 404, json: { errcode: 'M_UNRECOGNIZED', error: 'What?' } };

/** A multipart answer with a file, or with what stands in its place. */
function multipart(
  file: string | Buffer,
  headers: readonly string[] = ['Content-Type: text/plain'],
): PeerAnswer {
  return (response) => {
    response.writeHead(200, { 'content-type': 'multipart/mixed; boundary="the boundary"' });
    response.write('--the boundary\r\nContent-Type: application/json\r\n\r\n{}\r\n--the boundary\r\n');
    response.write(`${headers.join('\r\n')}\r\n\r\n`);
    response.write(file);
    response.end('\r\n--the boundary--\r\n');
  };
}

function raw(
  status: number,
  headers: Record<string, string>,
  body: string | ((response: ServerResponse) => void),
): PeerAnswer {
  return (response) => {
    response.writeHead(status, headers);
    if (typeof body === 'string') response.end(body);
    else body(response);
  };
}

/** How many files are kept, and how many are being received. */
async function filesOf(server: TestServer): Promise<number> {
  const folder = join(server.ctx.config.dataDir, 'media');
  const kept = (await readdir(join(folder, 'files'), { recursive: true })).filter((name) =>
    name.includes('/'),
  );
  return kept.length + (await readdir(join(folder, 'incoming'))).length;
}

/** The answer of one of our servers to another: its headers and its body. */
async function askAs(asker: TestServer, server: TestServer, path: string) {
  const wanted = { server: server.serverName, method: 'GET', path, accept: '*/*' } as const;
  return askedByTest(() =>
    asker.ctx.client.stream(wanted, async (body, headers) => ({
      headers,
      bytes: Buffer.concat(await Array.fromAsync(body)),
    })),
  );
}

test('what is uploaded here is downloaded there, with its type and name, and stays when the other server is gone', async () => {
  await using fleet = await startFleet(2);
  const [here, there] = [fleet.at(0), fleet.at(1)];
  const [alice, bob] = [await register(here), await register(there)];
  const bytes = randomBytes(2_000_000);
  const uri = await upload(alice, bytes, { type: 'img/png', name: '\u{1f414}.png' });
  const bare = await upload(alice, 'Hello', { type: 'text/plain' });
  await download(bob, bare);
  for (const more of ['', '/other.png']) {
    const got = await download(bob, uri, { more });
    assert.equal(got.status, 200);
    assert.ok(got.bytes.equals(bytes));
    assert.equal(got.headers.get('content-type'), 'img/png');
    const name = more === '' ? "filename*=utf-8''%F0%9F%90%94.png" : 'filename="other.png"';
    assert.equal(got.headers.get('content-disposition'), `attachment; ${name}`);
    await here.stop();
  }
  assert.equal((await download(bob, bare)).headers.get('content-disposition'), 'inline');
  await here.start();
});

test('a thumbnail there is made of the whole image, and is the same that its own server makes', async () => {
  await using fleet = await startFleet(2);
  const [here, there] = [fleet.at(0), fleet.at(1)];
  const [alice, bob] = [await register(here), await register(there)];
  const uri = await upload(alice, await picture(1_000, 500), { type: 'image/png' });
  const query = { width: 32, height: 32, method: 'scale' };
  const own = await thumbnail(alice, uri, query);
  const remote = await thumbnail(bob, uri, query);
  assert.equal(remote.status, 200);
  assert.ok(remote.bytes.equals(own.bytes));
  const [, mediaId] = partsOf(uri).split('/');
  const path = `/_matrix/federation/v1/media/thumbnail/${mediaId}?width=32&height=32&method=scale`;
  const asked = await askAs(there, here, path);
  assert.ok(asked.kind === 'ok');
  assert.ok(asked.value.bytes.includes(own.bytes));
  assert.ok(asked.value.bytes.includes('Content-Disposition: inline; filename="thumbnail.png"'));
});

test('RC21: we answer with two parts, JSON first, and a reader that looks for the last empty line finds the file', async () => {
  await using fleet = await startFleet(2);
  const [here, there] = [fleet.at(0), fleet.at(1)];
  const alice = await register(here);
  const uri = await upload(alice, 'the file', { type: 'text/html', name: 'a.html' });
  const answer = await askAs(there, here, `${FEDERATION}${partsOf(uri).split('/')[1]}`);
  assert.ok(answer.kind === 'ok');
  const { headers, bytes } = answer.value;
  assert.equal(headers['content-length'], String(bytes.length));
  const boundary = boundaryOf(headers['content-type'] ?? '') ?? '';
  assert.equal(
    bytes.toString(),
    [
      `--${boundary}`,
      'Content-Type: application/json',
      '',
      '{}',
      `--${boundary}`,
      'Content-Type: text/html',
      'Content-Disposition: attachment; filename="a.html"',
      '',
      'the file',
      `--${boundary}--`,
      '',
    ].join('\r\n'),
  );
  const after = bytes.toString().slice(bytes.lastIndexOf('\r\n\r\n') + 4);
  assert.equal(after.split(`\r\n--${boundary}`)[0], 'the file');
});

test('a server gets only what is ours, uploaded and not withheld, and only by a signed request', async () => {
  await using fleet = await startFleet(2);
  const [here, there] = [fleet.at(0), fleet.at(1)];
  const [alice, bob] = [await register(here), await register(there)];
  const uri = await upload(alice, await picture(50, 50));
  const theirs = await upload(bob, 'theirs');
  await download(alice, theirs);
  const { content_uri: reserved } = await alice.post('/_matrix/media/v1/create');
  const idOf = (mxc: string) => partsOf(mxc).split('/')[1];
  const status = async (path: string) => {
    const answer = await askAs(there, here, `/_matrix/federation/v1/media/${path}`);
    return answer.kind === 'ok' ? 'ok' : `${answer.status} ${answer.errcode}`;
  };
  const size = 'width=32&height=32';
  assert.equal(await status(`download/${idOf(uri)}`), 'ok');
  assert.equal(await status('download/unknown'), '404 M_NOT_FOUND');
  assert.equal(await status('download/a%2Fb'), '404 M_NOT_FOUND');
  assert.equal(await status(`download/${idOf(theirs)}`), '404 M_NOT_FOUND');
  assert.equal(await status(`download/${idOf(reserved)}?timeout_ms=1`), '504 M_NOT_YET_UPLOADED');
  assert.equal(await status(`thumbnail/${idOf(uri)}?width=32`), '400 M_MISSING_PARAM');
  assert.equal(await status(`thumbnail/${idOf(await upload(alice, 'text'))}?${size}`), '400 M_UNKNOWN');
  const mxc = { server: here.serverName, mediaId: idOf(uri) ?? '' };
  await here.ctx.db.write('test', (tx) =>
    quarantine(tx, mxc, { serverName: here.serverName, now: Date.now() }),
  );
  assert.equal(await status(`download/${idOf(uri)}`), '404 M_NOT_FOUND');
  assert.equal(await status(`thumbnail/${idOf(uri)}?${size}`), '404 M_NOT_FOUND');
  const unsigned = {
    server: here.serverName,
    method: 'GET',
    path: `${FEDERATION}x`,
    unsigned: true,
  } as const;
  const refused = await there.ctx.client.request(unsigned);
  assert.equal(refused.kind === 'failed' && refused.status, 401);
});

test('S-S 17: the deprecated endpoint is asked where the new one is not served, without a signature', async () => {
  for (const answer of [unrecognized, raw(404, {}, 'no'), raw(405, {}, 'no'), raw(400, {}, 'no')]) {
    const headers = { 'content-type': 'text/plain', 'content-disposition': 'inline; filename="ü.txt"' };
    await using at = await scene(({ url }) => {
      return url.startsWith(LEGACY)
        ? (response) => {
            response.writeHead(
              200,
              Object.entries(headers).flatMap(([name, value]) => [
                name,
                Buffer.from(value).toString('latin1'),
              ]),
            );
            response.end('old');
          }
        : answer;
    });
    const got = await download(at.alice, `mxc://${at.peer.name}/abc`);
    assert.deepEqual([got.status, got.bytes.toString()], [200, 'old']);
    assert.equal(got.headers.get('content-disposition'), "inline; filename*=utf-8''%C3%BC.txt");
    const [first, second] = at.peer.requests;
    assert.ok(first?.url.startsWith(`${FEDERATION}abc?`) && first.headers.authorization !== undefined);
    assert.ok(second);
    assert.ok(second.url.startsWith(`${LEGACY}${encodeURIComponent(at.peer.name)}/abc?`));
    assert.match(second.url, /allow_remote=false/);
    assert.equal(second.headers.authorization, undefined);
  }
});

test('a media that its server does not have is asked for once, and not by the deprecated endpoint', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using at = await scene(() => notFound, { clock });
  const uri = `mxc://${at.peer.name}/abc`;
  for (let count = 0; count < 3; count++)
    assert.equal((await download(at.alice, uri)).errcode, 'M_NOT_FOUND');
  assert.equal(at.peer.requests.length, 1);
  clock.time += 61_000;
  assert.equal((await download(at.alice, uri)).status, 404);
  assert.equal(at.peer.requests.length, 2);
});

test('a media that is still to be uploaded there is waited for, and asked for again', async () => {
  let isUploaded = false;
  await using at = await scene(() =>
    isUploaded ? multipart('here') : { status: 504, json: { errcode: 'M_NOT_YET_UPLOADED', error: 'Wait.' } },
  );
  const uri = `mxc://${at.peer.name}/abc`;
  const early = await download(at.alice, uri, { more: '?timeout_ms=5' });
  assert.deepEqual([early.status, early.errcode], [504, 'M_NOT_YET_UPLOADED']);
  assert.match(at.peer.requests[0]?.url ?? '', /timeout_ms=5/);
  isUploaded = true;
  assert.equal((await download(at.alice, uri)).bytes.toString(), 'here');
});

test('however many ask for a media, its server is asked once', async () => {
  await using at = await scene(() => multipart('once'));
  const all = await Promise.all(
    Array.from({ length: 20 }, () => download(at.alice, `mxc://${at.peer.name}/abc`)),
  );
  assert.ok(all.every(({ bytes }) => bytes.toString() === 'once'));
  assert.equal(at.peer.requests.length, 1);
  assert.equal(await filesOf(at.server), 1);
});

test('row 111: what another server refuses or breaks is its fault in our answer, never that of the client', async () => {
  const answers: readonly (readonly [PeerAnswer, number])[] = [
    [{ status: 401, json: { errcode: 'M_UNKNOWN_TOKEN', error: 'Log out!' } }, 502],
    [{ status: 403, json: { errcode: 'M_FORBIDDEN', error: 'No.' } }, 502],
    [{ status: 429, json: { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 1e9 } }, 502],
    [raw(500, {}, '<html>'), 502],
    [raw(302, { location: 'https://localhost/' }, ''), 502],
    [raw(200, { 'content-type': 'image/png' }, 'no multipart'), 502],
    [raw(200, { 'content-type': 'multipart/mixed; boundary=b' }, '--b\r\n\r\n{}\r\n--b--'), 502],
    [raw(200, { 'content-type': 'multipart/mixed; boundary=b' }, '--b\r\n\r\n{}\r\n--b\r\n\r\ncut'), 502],
    [
      raw(200, { 'content-type': 'multipart/mixed; boundary=b', 'content-length': '1000' }, (response) => {
        response.write('--b\r\n\r\n{}\r\n--b\r\n\r\ncut');
        setImmediate(() => response.destroy());
      }),
      504,
    ],
    [(response) => response.destroy(), 504],
  ];
  let answer: PeerAnswer = notFound;
  await using at = await scene(() => answer);
  for (const [index, [given, status]] of answers.entries()) {
    answer = given;
    await at.server.ctx.backoff.succeeded(at.peer.name);
    const got = await download(at.alice, `mxc://${at.peer.name}/m${index}`);
    assert.deepEqual([got.status, got.errcode], [status, 'M_UNKNOWN'], `answer ${index}`);
  }
  assert.equal(await filesOf(at.server), 0);
});

test('13.2.4: a file of another server over max_remote_media_size is 502 M_TOO_LARGE, and nothing of it stays', async () => {
  const answers: Readonly<Record<string, PeerAnswer>> = {
    exact: multipart(Buffer.alloc(100_000)),
    over: multipart(Buffer.alloc(100_001)),
    endless: raw(200, { 'content-type': 'multipart/mixed; boundary=b' }, (response) => {
      response.write('--b\r\n\r\n{}\r\n--b\r\n\r\n');
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      };
      response.on('drain', more);
      more();
    }),
    said: { status: 502, json: { errcode: 'M_TOO_LARGE', error: 'Too large' } },
  };
  await using at = await scene(({ url }) => answers[/download\/(\w+)/.exec(url)?.[1] ?? ''] ?? notFound, {
    maxRemoteMediaSize: 100_000,
  });
  for (const name of ['over', 'endless', 'said']) {
    const got = await download(at.alice, `mxc://${at.peer.name}/${name}`);
    assert.deepEqual([got.status, got.errcode], [502, 'M_TOO_LARGE'], name);
  }
  assert.equal(await filesOf(at.server), 0);
  assert.equal((await download(at.alice, `mxc://${at.peer.name}/exact`)).bytes.length, 100_000);
});

test('a Location is followed: by HTTPS, a few redirects far, and no further', async () => {
  let base = '';
  const elsewhere: Readonly<Record<string, () => PeerAnswer>> = {
    '/file': () =>
      raw(
        200,
        { 'content-type': 'text/plain', 'content-disposition': 'inline; filename="f.txt"' },
        'far away',
      ),
    '/hop': () => raw(302, { location: '/file' }, ''),
    '/loop': () => raw(307, { location: '/loop' }, ''),
    '/down': () => raw(302, { location: base.replace('https', 'http') }, ''),
    '/none': () => raw(404, {}, ''),
    '/large': () => raw(200, {}, 'x'.repeat(100_001)),
  };
  await using at = await scene(
    ({ url }) => {
      const target = /download\/(\w+)/.exec(url)?.[1];
      if (target === undefined) return elsewhere[url]?.() ?? notFound;
      const locations: Readonly<Record<string, string>> = {
        plain: base.replace('https', 'http'),
        local: 'file:///etc/passwd',
        user: `${base.replace('//', '//user:password@')}/file`,
        nowhere: 'nowhere',
      };
      return multipart('', [`Location: ${locations[target] ?? `${base}/${target}`}`]);
    },
    { maxRemoteMediaSize: 100_000 },
  );
  base = `https://${at.peer.name}`;
  const outcomes: Readonly<Record<string, number>> = {
    file: 200,
    hop: 200,
    local: 502,
    loop: 502,
    down: 502,
    none: 404,
    large: 502,
    plain: 502,
    user: 502,
    nowhere: 502,
  };
  for (const [name, status] of Object.entries(outcomes)) {
    const got = await download(at.alice, `mxc://${at.peer.name}/${name}`);
    assert.equal(got.status, status, name);
    if (status === 200) {
      assert.equal(got.bytes.toString(), 'far away');
      assert.equal(got.headers.get('content-disposition'), 'inline; filename="f.txt"');
    }
  }
  assert.equal(at.peer.requests.filter(({ url }) => url === '/loop').length, 4);
  assert.ok(
    at.peer.requests.every(({ url, headers }) => url.startsWith(FEDERATION) || !headers.authorization),
  );
  assert.equal(await filesOf(at.server), 1);
});

test('row 129: a Location that leads into the own network is not followed, however it is written', async () => {
  await using at = await scene(() => raw(200, {}, 'secret'));
  const dialer = new Dialer({ guard: new AddressGuard({ allowPrivate: false }) });
  const { media, partners } = at.server.ctx;
  const context = { partners, media: { ...media, dialer } };
  const hosts = [
    '127.0.0.1',
    'localhost',
    '2130706433',
    '0x7f.1',
    '127.1',
    '0',
    '[::1]',
    '[::ffff:127.0.0.1]',
  ];
  for (const host of hosts) {
    const answer = await fetchElsewhere(context, `https://${host}:${at.peer.port}/`, async () => 'taken');
    assert.deepEqual(answer.kind === 'failed' && answer.reason, 'unreachable', host);
  }
  assert.equal(at.peer.requests.length, 0);
});

test('RC22: of a server that serves no thumbnails they are made here', async () => {
  const image = await picture(400, 300);
  await using at = await scene(({ url }) =>
    url.startsWith(FEDERATION) ? multipart(image, ['Content-Type: image/png']) : unrecognized,
  );
  const uri = `mxc://${at.peer.name}/abc`;
  const got = await thumbnail(at.alice, uri, { width: 96, height: 96, method: 'crop' });
  assert.equal((await sharp(got.bytes).metadata()).width, 96);
  assert.deepEqual(
    at.peer.requests.map(({ url }) => url.split('?')[0]),
    [`${FEDERATION}abc`],
  );
});

test('what a server says of its files does not get past our own headers', async () => {
  const headers = [
    'Content-Type: text/html\u0001; evil',
    'Content-Disposition: inline; filename="a\u0000\\"b.html"',
    'Content-Security-Policy: none',
  ];
  await using at = await scene(() => multipart('<script>', headers));
  const got = await download(at.alice, `mxc://${at.peer.name}/abc`);
  assert.equal(got.headers.get('content-type'), 'application/octet-stream');
  assert.equal(got.headers.get('content-disposition'), 'attachment; filename="a\\"b.html"');
  assert.match(got.headers.get('content-security-policy') ?? '', /^sandbox/);
});

test('row 63: a stranger makes us ask nobody', async () => {
  await using at = await scene(() => multipart('x'), { legacyMedia: true });
  const parts = `${at.peer.name}/abc`;
  for (const path of [`${LEGACY}${parts}`, `/_matrix/media/v3/thumbnail/${parts}?width=32&height=32`]) {
    assert.equal((await getBytes(at.server, path)).status, 404);
  }
  assert.equal((await getBytes(at.server, `/_matrix/client/v1/media/download/${parts}`)).status, 401);
  const unwanted = `${LEGACY}${parts}?allow_remote=false`;
  assert.equal((await getBytes(at.server, unwanted, { token: at.alice.accessToken })).status, 404);
  assert.equal(at.peer.requests.length, 0);
  const signedIn = await getBytes(at.server, `${LEGACY}${parts}`, { token: at.alice.accessToken });
  assert.equal(signedIn.bytes.toString(), 'x');
  assert.equal((await getBytes(at.server, `${LEGACY}${parts}`)).bytes.toString(), 'x');
});

test('row 170: nobody without a token or a signature learns which media of others are here', async () => {
  await using at = await scene(() => multipart('theirs'), { legacyMedia: false });
  const uri = `mxc://${at.peer.name}/abc`;
  assert.equal((await download(at.alice, uri)).status, 200);
  const { requests } = at.peer;
  const before = requests.length;
  const answersTo = async (mediaId: string) => {
    const parts = `${at.peer.name}/${mediaId}`;
    const size = 'width=32&height=32&method=crop';
    const paths = [
      `/_matrix/client/v1/media/download/${parts}`,
      `/_matrix/client/v1/media/download/${parts}/name.txt`,
      `/_matrix/client/v1/media/thumbnail/${parts}?${size}`,
      `${LEGACY}${parts}`,
      `/_matrix/media/v3/thumbnail/${parts}?${size}`,
    ];
    const answers = await Promise.all(paths.map((path) => getBytes(at.server, path)));
    return answers.map(({ status, errcode, bytes }) => [status, errcode, bytes.toString()]);
  };
  const known = await answersTo('abc');
  assert.deepEqual(known, await answersTo('unknown'));
  assert.deepEqual(
    known.map(([status]) => status),
    [401, 401, 401, 404, 404],
  );
  const bad = await getBytes(at.server, `/_matrix/client/v1/media/download/${at.peer.name}/abc`, {
    token: 'x',
  });
  assert.deepEqual([bad.status, bad.errcode], [401, 'M_UNKNOWN_TOKEN']);
  assert.equal(requests.length, before, 'nobody was asked');
});

test('of other servers no more is kept than remote_media_cache_size: what was unread for longest goes', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using at = await scene(({ url }) => multipart(Buffer.alloc(1_000, url)), {
    clock,
    remoteMediaCacheSize: 3_500,
  });
  const get = async (name: string) => {
    const got = await download(at.alice, `mxc://${at.peer.name}/${name}`);
    assert.equal(got.bytes.length, 1_000);
    clock.time += 2 * 3_600_000;
  };
  for (const name of ['a', 'b', 'c', 'a', 'd', 'e']) await get(name);
  assert.equal(await filesOf(at.server), 3);
  const asked = () => at.peer.requests.length;
  const before = asked();
  for (const name of ['a', 'd', 'e']) await get(name);
  assert.equal(asked(), before, 'what was read lately is here');
  await get('b');
  assert.equal(asked(), before + 1);
  assert.equal(await filesOf(at.server), 3);
});

test('a kept file that has gone from the disk is fetched again', async () => {
  await using at = await scene(() => multipart('again'));
  const uri = `mxc://${at.peer.name}/abc`;
  await download(at.alice, uri);
  const { blobs } = at.server.ctx.media;
  const sha256 = (await download(at.alice, uri)).headers.get('etag')?.slice(1, -1) ?? '';
  await rm(blobs.pathOf(sha256));
  assert.equal((await download(at.alice, uri)).status, 404);
  assert.equal((await download(at.alice, uri)).bytes.toString(), 'again');
});

test('row 62: what the same user may have fetched from other servers is limited', async () => {
  const now = Date.now();
  await using at = await scene(() => notFound, { rateLimits: true, clock: { now: () => now } });
  const asked = Array.from({ length: 310 }, (_, index) =>
    download(at.alice, `mxc://${at.peer.name}/m${index}`),
  );
  const refused = (await Promise.all(asked)).filter(({ errcode }) => errcode === 'M_LIMIT_EXCEEDED');
  assert.equal(refused.length, 10);
  const known = await download(at.alice, `mxc://${at.peer.name}/m0`);
  assert.equal(known.status, 404, 'what is known already is not counted');
});
