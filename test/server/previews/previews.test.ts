import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forgetOldPreviews } from '#server/housekeeping.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { download, picture } from '#test/harness/media.ts';
import { startServer } from '#test/harness/server.ts';
import { file, redirect, startWebSite } from '#test/harness/web.ts';

const OPEN = { urlPreviews: true, urlPreviewAllowPrivate: true };

function preview(client: TestClient, url: string, more = '') {
  return client.try('GET', `/_matrix/client/v1/media/preview_url?url=${encodeURIComponent(url)}${more}`);
}

async function shown(client: TestClient, url: string) {
  const answer = await preview(client, url);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
}

test('a page is shown by its OpenGraph, with its picture as a media of ours, by both paths', async () => {
  await using server = await startServer(OPEN);
  await using site = await startWebSite();
  const alice = await register(server);
  const image = await picture(279, 129);
  site.pages.set('/test.png', file(image, 'image/png'));
  site.pages.set(
    '/test.html',
    `<html prefix="og: http://ogp.me/ns#"><head><title>The Rock (1996)</title>
     <meta property="og:title" content="The Rock &amp; more" /><meta property="og:type" content="video.movie" />
     <meta property="og:url" content="http://www.imdb.com/title/tt0117500/" />
     <meta property="og:image" content="test.png" /><meta property="og:image:width" content="5" />
     <meta property="og:video" content="https://elsewhere.test/film" /></head><body></body></html>`,
  );
  const expected = {
    'og:title': 'The Rock & more',
    'og:type': 'video.movie',
    'og:url': 'http://www.imdb.com/title/tt0117500/',
    'og:image:type': 'image/png',
    'og:image:width': 279,
    'og:image:height': 129,
    'matrix:image:size': image.length,
  };
  for (const path of ['/_matrix/client/v1/media', '/_matrix/media/v3']) {
    const { body } = await alice.try('GET', `${path}/preview_url?url=${site.url}/test.html%23part&ts=5`);
    const { 'og:image': uri, ...rest } = body;
    assert.deepEqual(rest, expected);
    assert.ok((await download(alice, uri)).bytes.equals(image));
  }
  assert.deepEqual(site.hits, ['/test.html', '/test.png']);
  const { capabilities } = await alice.get('/capabilities');
  assert.equal(capabilities['io.element.msc4452.preview_url'].enabled, true);
});

test('what a page does not say by OpenGraph is taken from the rest of its head, and nothing from its body', async () => {
  await using server = await startServer(OPEN);
  await using site = await startWebSite();
  const alice = await register(server);
  site.pages.set('/icon.gif', file(await picture(16, 16, 'gif'), 'image/gif'));
  site.pages.set(
    '/',
    `<!doctype html><script>"<title>no</title>"</script><title>
     A  title &lt;b&gt;</title><meta NAME=Description content='of &#x1F600; it'>
     <link rel="shortcut icon" href="/icon.gif"><body><meta property="og:site_name" content="no"><title>no</title>`,
  );
  const found = await shown(alice, `${site.url}/`);
  assert.equal(found['og:title'], 'A title <b>');
  assert.equal(found['og:description'], 'of \u{1f600} it');
  assert.equal(found['og:image:type'], 'image/gif');
  assert.equal(found['og:site_name'], undefined);
});

test('a page is read in the charset that its bytes, its header or it names, else as UTF-8', async () => {
  await using server = await startServer(OPEN);
  await using site = await startWebSite();
  const alice = await register(server);
  const page = (meta: string) => `<head>${meta}<title>Grüße</title></head>`;
  const latin = Buffer.from(page('<meta http-equiv=x content="text/html; charset=iso-8859-1">'), 'latin1');
  const utf16 = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(page(''), 'utf16le')]);
  site.pages.set('/meta', file(latin, 'text/html'));
  site.pages.set('/header', file(Buffer.from(page(''), 'latin1'), 'text/html;charset="windows-1252"'));
  site.pages.set('/bom', file(utf16, 'text/html; charset=utf-8'));
  site.pages.set('/unknown', file(page('<meta charset=no-such-thing>'), 'text/html'));
  for (const path of site.pages.keys()) {
    assert.equal((await shown(alice, site.url + path))['og:title'], 'Grüße', path);
  }
});

test('what a page leaves out is asked for by oEmbed, where it names that', async () => {
  await using server = await startServer(OPEN);
  await using site = await startWebSite();
  const alice = await register(server);
  site.pages.set('/thumb.png', file(await picture(40, 30), 'image/png'));
  const told = {
    version: '1.0',
    type: 'video',
    title: 'A film',
    provider_name: 'Films',
    thumbnail_url: '/thumb.png',
  };
  site.pages.set('/oembed?format=json', file(JSON.stringify(told), 'application/json'));
  site.pages.set('/broken', file('{', 'application/json'));
  const link = (href: string) =>
    `<head><title>Own</title><link rel=alternate type="application/json+oembed" href="${href}"></head>`;
  site.pages.set('/film', link('/oembed?format=json'));
  site.pages.set('/other', link('/broken'));
  const { 'og:image': uri, ...found } = await shown(alice, `${site.url}/film`);
  assert.equal((await download(alice, uri)).status, 200);
  assert.equal(found['og:title'], 'Own');
  assert.equal(found['og:site_name'], 'Films');
  assert.equal(found['og:image:height'], 30);
  assert.deepEqual(await shown(alice, `${site.url}/other`), { 'og:title': 'Own' });
});

test('a link to a picture shows it; to another file it shows nothing; to a page that fails it is 502', async () => {
  await using server = await startServer(OPEN);
  await using site = await startWebSite();
  const alice = await register(server);
  site.pages.set('/picture', file(await picture(20, 10, 'webp'), 'image/webp'));
  site.pages.set('/liar', file('<svg/>', 'image/png'));
  site.pages.set('/file', file('%PDF-1.7', 'application/pdf'));
  site.pages.set('/zipped', (_, response) =>
    response.writeHead(200, { 'content-type': 'text/html', 'content-encoding': 'gzip' }).end('x'),
  );
  const found = await shown(alice, `${site.url}/picture`);
  assert.deepEqual([found['og:image:type'], found['og:image:width']], ['image/webp', 20]);
  assert.deepEqual(await shown(alice, `${site.url}/liar`), {});
  assert.deepEqual(await shown(alice, `${site.url}/file`), {});
  for (const url of [`${site.url}/none`, `${site.url}/zipped`, 'http://127.0.0.1:1/']) {
    const { status, body } = await preview(alice, url);
    assert.deepEqual([status, body.errcode], [502, 'M_UNKNOWN'], url);
  }
});

test('redirects are followed three times, and not for ever', async () => {
  await using server = await startServer(OPEN);
  await using site = await startWebSite();
  const alice = await register(server);
  site.pages.set('/0', '<title>There</title>');
  for (const hop of [1, 2, 3, 4]) site.pages.set(`/${hop}`, redirect(`/${hop - 1}`, 300 + hop));
  assert.deepEqual(await shown(alice, `${site.url}/3`), { 'og:title': 'There' });
  assert.equal((await preview(alice, `${site.url}/4`)).status, 502);
});

test('a preview is kept for a day, unless its picture has gone; a failure for a minute', async () => {
  let now = 1_800_000_000_000;
  await using server = await startServer({ ...OPEN, clock: { now: () => now } });
  await using site = await startWebSite();
  const alice = await register(server);
  site.pages.set('/', '<title>One</title><meta property=og:image content=/p>');
  site.pages.set('/p', file(await picture(9, 9), 'image/png'));
  const url = `${site.url}/`;
  const first = await shown(alice, url);
  site.pages.set('/', '<title>Two</title><meta property=og:image content=/p>');
  assert.deepEqual(await shown(alice, url), first);
  await server.restart();
  assert.deepEqual(await shown(alice, url), first);
  const [, mediaId] = /([^/]+)$/.exec(first['og:image']) ?? [];
  await server.ctx.db.write('test', (tx) =>
    tx.run({ name: 'test', text: 'DELETE FROM media WHERE media_id = ?' }, mediaId ?? ''),
  );
  assert.equal((await shown(alice, url))['og:title'], 'Two');
  site.pages.set('/', '<title>Three</title>');
  now += 25 * 60 * 60_000;
  assert.equal((await shown(alice, url))['og:title'], 'Three');
  assert.equal((await preview(alice, `${url}late`)).status, 502);
  site.pages.set('/late', '<title>Late</title>');
  assert.equal((await preview(alice, `${url}late`)).status, 502);
  now += 61_000;
  assert.equal((await shown(alice, `${url}late`))['og:title'], 'Late');
  now += 25 * 60 * 60_000;
  await forgetOldPreviews(server.ctx.db, server.ctx.clock, new AbortController().signal);
  const left = await server.ctx.db.all({ name: 'test', text: 'SELECT url_sha256 FROM url_previews' });
  assert.deepEqual(left, []);
});

test('a page that many ask for at once is visited once', async () => {
  await using server = await startServer(OPEN);
  await using site = await startWebSite();
  const alice = await register(server);
  site.pages.set('/', '<title>One</title>');
  const all = await Promise.all(Array.from({ length: 10 }, () => shown(alice, `${site.url}/`)));
  for (const each of all) assert.deepEqual(each, { 'og:title': 'One' });
  assert.deepEqual(site.hits, ['/']);
});

test('what is no address of a page is refused with the name of the parameter', async () => {
  await using server = await startServer(OPEN);
  const alice = await register(server);
  const bad = [
    ...['', 'example.org', 'ftp://example.org/', 'file:///etc/passwd', 'mxc://kurir.test/abc', 'http://'],
    ...['javascript:alert(1)', 'http://user@example.org/', 'http://user:pw@example.org/'],
    `http://example.org/${'a'.repeat(2_100)}`,
  ];
  for (const url of bad) {
    const { status, body } = await preview(alice, url);
    assert.equal(status, 400, url);
    assert.match(body.errcode, url === '' ? /^M_MISSING_PARAM$/ : /^M_INVALID_PARAM$/);
    assert.match(body.error, /url/);
  }
  assert.equal((await preview(alice, 'http://example.org/', '&ts=soon')).body.errcode, 'M_INVALID_PARAM');
});

test('where previews are off, as they are unless the operator turns them on, there is no such endpoint', async () => {
  await using server = await startServer({ urlPreviewAllowPrivate: true });
  await using site = await startWebSite();
  const alice = await register(server);
  const { status, body } = await preview(alice, `${site.url}/`);
  assert.deepEqual([status, body.errcode], [404, 'M_UNRECOGNIZED']);
  assert.deepEqual(site.hits, []);
});

test('a user who asks for too many pages waits; what is known already is told', async () => {
  await using server = await startServer({ ...OPEN, rateLimits: true });
  await using site = await startWebSite();
  const alice = await register(server);
  site.pages.set('/known', '<title>Known</title>');
  await shown(alice, `${site.url}/known`);
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, index) => preview(alice, `${site.url}/${index}`)),
  );
  assert.ok(answers.some(({ status, body }) => status === 429 && body.errcode === 'M_LIMIT_EXCEEDED'));
  assert.equal((await preview(alice, `${site.url}/known`)).status, 200);
});
