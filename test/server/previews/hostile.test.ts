import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressGuard } from '#federation/network/address-guard.ts';
import { Dialer } from '#federation/network/dial.ts';
import { isAllowed } from '#server/previews/page-address.ts';
import { headOf } from '#server/previews/page-head.ts';
import { Previews } from '#server/previews/previews.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { picture } from '#test/harness/media.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';
import { file, redirect, startWebSite } from '#test/harness/web.ts';

const OPEN = { urlPreviews: true, urlPreviewAllowPrivate: true };

function preview(client: TestClient, url: string) {
  return client.try('GET', `/_matrix/client/v1/media/preview_url?url=${encodeURIComponent(url)}`);
}

/** Previews of our own making, with a guard and times of the test's. */
function previewsOf(
  server: TestServer,
  { guard, timeoutMs }: { guard: AddressGuard; timeoutMs: number },
): Previews {
  const dialer = new Dialer({ guard });
  return new Previews(server.ctx, {
    ...{ dialer, timeoutMs },
    mayVisit: () => true,
    stopping: server.ctx.shutdown,
  });
}

test('row 19: of what a page says of itself no more is told than is of use', async () => {
  await using server = await startServer(OPEN);
  await using site = await startWebSite();
  const alice = await register(server);
  const tags = Array.from(
    { length: 10_000 },
    (_, index) => `<meta property="og:x${index}" content="${'é"'.repeat(600)}">`,
  );
  const long = `<meta property="og:${'n'.repeat(60)}" content="no"><meta property="og:__proto__" content="p">`;
  site.pages.set('/many', `<head><title>t</title>${long}${tags.join('')}</head>`);
  site.pages.set('/long', `<head><meta property="og:title" content="${'t'.repeat(5_000_000)}"></head>`);
  site.pages.set('/title', `<head><title>${'t'.repeat(300_000)}\u{1f600}</title></head>`);
  site.pages.set(
    '/lone',
    `<meta property="og:title" content="${'t'.repeat(999)}\u{1f600}"><meta name=description content="a&#0;b&#xd800;c">`,
  );
  for (const path of site.pages.keys()) {
    const { status, body } = await preview(alice, site.url + path);
    assert.equal(status, 200, path);
    assert.ok(JSON.stringify(body).length < 20_000);
    for (const [name, value] of Object.entries(body)) {
      assert.ok(name.length <= 50 && String(value).length <= 1_000, name);
      assert.ok(String(value).isWellFormed());
    }
  }
});

test('row 46: pages nested without end, or of one line, are read in one go, and the server lives', async () => {
  await using server = await startServer(OPEN);
  await using site = await startWebSite();
  const alice = await register(server);
  const heads = [
    '<div>'.repeat(100_000),
    `${'<a>'.repeat(60_000)}${'</b>'.repeat(80_000)}`,
    'x'.repeat(10_000_000),
    '<'.repeat(500_000),
    '<meta '.repeat(80_000),
    `<meta ${'a=b '.repeat(120_000)}>`,
    `<!--${'-'.repeat(500_000)}`,
    '&'.repeat(500_000),
    `<meta content="${'&amp'.repeat(120_000)}">`,
    `<title>${'<title>'.repeat(70_000)}`,
    `<script>${'</scrip'.repeat(70_000)}`,
    `charset${' '.repeat(500_000)}`,
  ];
  for (const [index, head] of heads.entries()) site.pages.set(`/${index}`, `<html>${head}`);
  for (const path of site.pages.keys()) {
    const { status, body } = await preview(alice, site.url + path);
    assert.equal(status, 200, path);
    assert.ok(JSON.stringify(body).length < 2_000);
  }
  const { title } = await headOf(`${'<div>'.repeat(100_000)}<title>Deep</title>`);
  assert.equal(title, 'Deep');
  assert.equal((await alice.try('GET', '/account/whoami')).status, 200);
});

test('row 47: a page without end is left once its head is read, or too large, or after a time', async () => {
  await using server = await startServer(OPEN);
  await using site = await startWebSite();
  const alice = await register(server);
  const endless = (type: string, start: string, piece: string) => {
    site.pages.set(`/${site.pages.size}`, (_, response) => {
      response.writeHead(200, { 'content-type': type }).write(start);
      const timer = setInterval(() => response.write(piece), 5);
      response.on('close', () => clearInterval(timer));
    });
  };
  endless('text/html', '<head><title>Radio</title></head>', 'la ');
  endless('text/html', '<head><title>Radio</title>', ' '.repeat(100_000));
  endless('audio/mpeg', 'ID3', 'x'.repeat(100_000));
  assert.deepEqual((await preview(alice, `${site.url}/0`)).body, { 'og:title': 'Radio' });
  assert.deepEqual((await preview(alice, `${site.url}/1`)).body, { 'og:title': 'Radio' });
  assert.deepEqual((await preview(alice, `${site.url}/2`)).body, {});
  endless('image/png', '\x89PNG\r\n\x1a\n', 'x'.repeat(200_000));
  assert.equal((await preview(alice, `${site.url}/3`)).status, 502);
  // One that never says enough: here the time is shorter than that of the server.
  endless('text/html', '<head>', ' ');
  const previews = previewsOf(server, { guard: new AddressGuard({ allowPrivate: true }), timeoutMs: 200 });
  assert.deepEqual(await previews.of(new URL(`${site.url}/4`), () => undefined), { kind: 'failed' });
  await until(() => site.cutOff.length === 5);
});

/** One address of loopback stands for the web, all others for our own network. */
class OneAddress extends AddressGuard {
  override allows(address: string): boolean {
    return address === '127.0.0.1';
  }
}

test('row 55: nothing that a page links to or redirects to leads to an address of our own network', async () => {
  await using server = await startServer({ urlPreviews: true });
  await using site = await startWebSite();
  await using canary = await startWebSite('127.0.0.2');
  for (const path of ['/', '/p.png', '/o']) canary.pages.set(path, file(await picture(5, 5), 'image/png'));
  const names = new Map([
    ['private.test', ['127.0.0.2']],
    ['both.test', ['127.0.0.1', '127.0.0.2']],
  ]);
  const guard = new OneAddress({
    allowPrivate: false,
    lookup: (hostname, _, callback) => {
      const found = names.get(hostname) ?? ['127.0.0.1'];
      callback(
        null,
        found.map((address) => ({ address, family: 4 })),
      );
    },
  });
  const previews = previewsOf(server, { guard, timeoutMs: 5_000 });
  for (const [index, host] of [
    '127.0.0.2',
    '[::ffff:127.0.0.2]',
    'private.test',
    'both.test',
    '2130706434',
  ].entries()) {
    const there = `http://${host}:${canary.port}`;
    const page = (head: string) => `<head><title>Page</title>${head}</head>`;
    const pages = [
      page(`<meta property="og:image" content="${there}/p.png">`),
      page(`<meta name="twitter:image" content="${there}/p.png">`),
      page(`<link rel="icon" href="${there}/p.png">`),
      page(`<link rel="alternate" type="application/json+oembed" href="${there}/o">`),
      page(`<base href="${there}/"><meta property="og:image" content="p.png">`),
      page(`<meta http-equiv="refresh" content="0; url=${there}/">`),
      page('<meta property="og:image" content="/to-picture">'),
      ...[301, 302, 303, 307, 308].map((status) => redirect(`${there}/`, status)),
    ];
    site.pages.set('/to-picture', redirect(`${there}/p.png`));
    for (const [at, each] of pages.entries()) {
      site.pages.set(`/${index}/${at}`, each);
      const result = await previews.of(new URL(`${site.url}/${index}/${at}`), () => undefined);
      if (typeof each === 'string')
        assert.deepEqual(result, { kind: 'found', preview: { 'og:title': 'Page' } });
      else assert.deepEqual(result, { kind: 'failed' });
    }
    assert.equal((await previews.of(new URL(there), () => undefined)).kind, 'failed');
  }
  assert.deepEqual(canary.hits, []);
});

test('row 42: no address that a user gives for a preview leads to a private one, by default', async () => {
  await using server = await startServer({ urlPreviews: true });
  await using canary = await startWebSite();
  const alice = await register(server);
  const hosts = [
    ...[
      '127.0.0.1',
      '127.1',
      '0x7f.1',
      '2130706433',
      '0',
      '0.0.0.0',
      'localhost',
      'localhost.',
      '0177.0.0.1',
    ],
    ...['[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]'],
    ...['①②⑦.0.0.1', '169.254.169.254', '100.64.0.1', 'elsewhere.test@127.0.0.1'],
  ];
  for (const host of hosts) {
    const { status } = await preview(alice, `http://${host}:${canary.port}/`);
    assert.ok(status === 502 || status === 400, `${host}: ${status}`);
    assert.notEqual((await preview(alice, `https://${host}:${canary.port}/`)).status, 200);
  }
  assert.deepEqual(canary.hits, []);
});

test('row 120: a page of a host that is denied, or not among those allowed, is not visited by any way', async () => {
  await using site = await startWebSite();
  await using other = await startWebSite('localhost');
  other.pages.set('/', '<title>Secret</title>');
  other.pages.set('/p.png', file(await picture(5, 5), 'image/png'));
  site.pages.set('/there', redirect(`${other.url}/`));
  site.pages.set('/shows', `<title>Shows</title><meta property="og:image" content="${other.url}/p.png">`);
  for (const lists of [{ urlPreviewDeny: ['localhost'] }, { urlPreviewAllow: ['127.0.0.1'] }]) {
    await using server = await startServer({ ...OPEN, ...lists });
    const alice = await register(server);
    for (const url of [`${other.url}/`, other.url.replace('localhost', 'LOCALHOST.'), `${site.url}/there`]) {
      const { status, body } = await preview(alice, url);
      assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN'], url);
    }
    assert.deepEqual((await preview(alice, `${site.url}/shows`)).body, { 'og:title': 'Shows' });
    // What is kept is not told either, once it is denied.
    await server.restart({ urlPreviewDeny: ['127.0.0.1'] });
    assert.equal((await preview(alice, `${site.url}/shows`)).status, 403);
  }
  assert.deepEqual(other.hits, []);
});

test('a host is allowed or denied with all that are below it, and nothing else', () => {
  const judge = (url: string, allow: string[], deny: string[]) =>
    isAllowed(new URL(url), { urlPreviewAllow: allow, urlPreviewDeny: deny });
  assert.equal(judge('https://a.example.org/', [], []), true);
  assert.equal(judge('https://example.org/', ['example.org'], []), true);
  assert.equal(judge('https://a.b.example.org./', ['example.org'], []), true);
  assert.equal(judge('https://badexample.org/', ['example.org'], []), false);
  assert.equal(judge('https://example.org.evil.test/', ['example.org'], []), false);
  assert.equal(judge('https://badexample.org/', [], ['example.org']), true);
  assert.equal(judge('https://a.example.org/', [], ['example.org']), false);
  assert.equal(judge('https://a.example.org/', ['example.org'], ['a.example.org']), false);
  assert.equal(judge('https://b.example.org/', ['example.org'], ['a.example.org']), true);
  assert.equal(judge('http://[::1]:80/', [], ['[::1]']), false);
});
