/** The pages in Chromium: axe-core finds nothing, nothing is beside a narrow window, the keyboard leads everywhere. */

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { BrowserContextOptions, Page } from 'playwright-core';
import sharp from 'sharp';
import type { UserId } from '#keys/ids.ts';
import { languages } from '#server/languages/choose.ts';
import { register, request, type TestClient } from '#test/harness/client.ts';
import { authorizePath, newDevice, registerClient } from '#test/harness/oauth.ts';
import { skip, why } from './chromium.ts';
import { NARROW, overflowOf, violationsOf, violationsOfCopy, WIDE, walkByKeyboard } from './looks.ts';
import { SERVER, type Stage, startStage } from './stage.ts';

/** Where pictures of some pages go; nowhere unless it is named. */
const PICTURES = process.env.KURIR_TEST_PICTURES;
/** How much around a page is in its picture. */
const EDGE = 24;

/** A page, where somebody is signed in or nobody is. */
interface Shown {
  readonly name: string;
  readonly path: string;
  /** Pictures of it are in docs/pictures: wide and light, or narrow and dark, too. */
  readonly pictured?: 'wide' | 'both';
}

let stage: Stage;
let agnes: TestClient;
let clientId = '';

before(async () => {
  if (skip) return;
  stage = await startStage({ serverName: 'example.org', registration: 'open' });
  agnes = await register(stage.server, 'agnes');
  const policy = {
    policyId: 'privacy',
    version: '1',
    url: 'https://example.org/privacy',
    name: 'Privacy policy',
  };
  await stage.server.restart({ terms: [{ ...policy, language: 'en' }] });
  clientId = await registerClient(stage.server, {
    ...{
      client_name: 'Element',
      client_uri: 'https://element.io/',
      redirect_uris: ['https://element.io/done'],
    },
    ...{ tos_uri: 'https://element.io/terms', policy_uri: 'https://element.io/privacy' },
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  });
});
after(() => stage?.[Symbol.asyncDispose]());

const STRANGERS: readonly Shown[] = [
  { name: 'root', path: '/' },
  { name: 'sign-in', path: '/sign-in', pictured: 'both' },
  { name: 'forgotten', path: '/sign-in/forgotten' },
  { name: 'registration', path: '/_kurir/register?next=/account' },
  { name: 'terms-invalid', path: '/_kurir/terms?for=nobody' },
  { name: 'email-invalid', path: '/_kurir/email/confirm?sid=1&token=2' },
  { name: 'login-fallback', path: '/_matrix/static/client/login/' },
  { name: 'auth-fallback', path: '/_matrix/client/v3/auth/m.login.dummy/fallback/web?session=none' },
  { name: 'oauth-problem', path: '/oauth2/authorize?client_id=none' },
  { name: 'unknown-provider', path: '/sign-in/provider/nobody' },
];

async function ours(): Promise<readonly Shown[]> {
  const { deviceId } = agnes;
  const scope = `urn:matrix:client:api:* urn:matrix:client:device:${newDevice()}`;
  const consent = authorizePath(clientId, { redirect_uri: 'https://element.io/done', scope });
  const termsPage = new URL(stage.server.ctx.consents.pageFor(agnes.userId as UserId), SERVER);
  const form = new URLSearchParams({ client_id: clientId, scope });
  const grant = await request(stage.server, 'POST', '/oauth2/device_authorization', {
    body: form.toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
  return [
    { name: 'consent', path: consent, pictured: 'both' },
    { name: 'terms', path: termsPage.pathname + termsPage.search },
    { name: 'device-code', path: '/oauth2/device' },
    ...(grant.status === 200
      ? [{ name: 'device-confirm', path: `/oauth2/device?user_code=${grant.body.user_code}` }]
      : []),
    { name: 'account', path: '/account', pictured: 'wide' },
    { name: 'profile', path: '/account/profile' },
    { name: 'devices', path: '/account/devices', pictured: 'wide' },
    { name: 'device', path: `/account/devices/view?device_id=${deviceId}` },
    { name: 'device-sign-out', path: `/account/devices/sign-out?device_id=${deviceId}` },
    { name: 'password', path: '/account/password' },
    { name: 'emails', path: '/account/emails' },
    { name: 'second-step', path: '/account/second-step', pictured: 'wide' },
    { name: 'second-step-app', path: '/account/second-step/app' },
    { name: 'language', path: '/account/language' },
    { name: 'cross-signing-reset', path: '/account/cross-signing-reset' },
    { name: 'deactivate', path: '/account/deactivate' },
    { name: 'sign-in-again', path: '/sign-in?prompt=login&next=/account' },
  ];
}

async function signIn(page: Page): Promise<void> {
  await page.goto(`${SERVER}/sign-in?lang=en`);
  await page.locator('#name').fill('agnes');
  await page.locator('#password').fill(agnes.password);
  await page.locator('form button').first().click();
  await page.waitForURL(`${SERVER}/account`);
}

/** Looks at a page in every light and width, and in every language. */
async function look(page: Page, shown: Shown, copy: Page | undefined): Promise<string[]> {
  const hasScript = copy === undefined;
  const found: string[] = [];
  for (const language of hasScript ? languages : (['en'] as const)) {
    const address = `${SERVER}${shown.path}${shown.path.includes('?') ? '&' : '?'}lang=${language}`;
    await page.goto(address);
    for (const colorScheme of language === 'en' ? (['light', 'dark'] as const) : (['light'] as const)) {
      await page.emulateMedia({ colorScheme });
      await copy?.emulateMedia({ colorScheme });
      for (const size of [WIDE, NARROW]) {
        const where = `${shown.name}, ${language}, ${colorScheme}, ${size.width} px`;
        await page.setViewportSize(size);
        const beside = await overflowOf(page);
        if (beside > 0) found.push(`${where}: ${beside} px are beside the window`);
        if (language !== 'en' && size === NARROW) continue;
        const violations = await (hasScript ? violationsOf(page) : violationsOfCopy(page, copy));
        found.push(...violations.map((text) => `${where}: ${text}`));
        if (hasScript) await picture(page, shown, { colorScheme, size, language });
      }
    }
  }
  await walkByKeyboard(page);
  return found;
}

async function picture(
  page: Page,
  shown: Shown,
  as: { colorScheme: string; size: { width: number }; language: string },
): Promise<void> {
  if (PICTURES === undefined || as.language !== 'en') return;
  const isNarrow = as.size === NARROW;
  const isWanted = isNarrow
    ? shown.pictured === 'both' && as.colorScheme === 'dark'
    : shown.pictured !== undefined && as.colorScheme === 'light';
  if (!isWanted) return;
  mkdirSync(PICTURES, { recursive: true });
  const box = await page.locator('body').boundingBox();
  assert.ok(box !== null);
  const [x, y] = [Math.max(0, box.x - EDGE), Math.max(0, box.y - EDGE)];
  const [width, height] = [box.x + box.width + Math.min(EDGE, box.x) - x, box.y + box.height + EDGE - y];
  const taken = await page.screenshot({ fullPage: true, clip: { x, y, width, height } });
  const file = path.join(PICTURES, `${shown.name}${isNarrow ? '-narrow-dark' : ''}.png`);
  await sharp(taken).png({ palette: true, colours: 32, compressionLevel: 9 }).toFile(file);
}

for (const javaScriptEnabled of [true, false]) {
  const options: BrowserContextOptions = { javaScriptEnabled };
  const how = javaScriptEnabled ? 'with' : 'without';

  test(`what strangers see, ${how} JavaScript${why}`, { skip }, async () => {
    const page = await stage.open(options);
    const copy = javaScriptEnabled ? undefined : await stage.open();
    const found: string[] = [];
    for (const shown of STRANGERS) found.push(...(await look(page, shown, copy)));
    assert.deepEqual(found, []);
  });

  test(`what those see who are signed in, ${how} JavaScript${why}`, { skip }, async () => {
    const page = await stage.open(options);
    const copy = javaScriptEnabled ? undefined : await stage.open();
    await signIn(page);
    const found: string[] = [];
    for (const shown of await ours()) found.push(...(await look(page, shown, copy)));
    assert.deepEqual(found, []);
  });
}

test(`no page has anything to complain of${why}`, { skip }, () => {
  assert.deepEqual(stage.complaints, []);
});
