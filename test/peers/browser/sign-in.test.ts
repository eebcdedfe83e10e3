/** In Chromium: a client of matrix-js-sdk on a website, and people who sign in on the pages of the server. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Page } from 'playwright-core';
import { register } from '#test/harness/client.ts';
import type { Chat } from './chat-app.ts';
import { skip, why } from './chromium.ts';
import { SERVER, type Stage, startStage, WEBSITE } from './stage.ts';

let stage: Stage;

before(async () => {
  if (!skip) stage = await startStage();
});
after(() => stage?.[Symbol.asyncDispose]());

/** Calls the client in the page. */
async function chat<K extends keyof Chat>(
  page: Page,
  method: K,
  ...args: Parameters<Chat[K]>
): Promise<Awaited<ReturnType<Chat[K]>>> {
  await page.waitForFunction('globalThis.chat !== undefined');
  return (await page.evaluate(`chat.${method}(...${JSON.stringify(args)})`)) as Awaited<ReturnType<Chat[K]>>;
}

/** From where the person is back at the client, to the sign-out. */
async function live(page: Page, userId: string): Promise<void> {
  await page.waitForURL(`${WEBSITE}/**`);
  assert.equal(await chat(page, 'arrive'), userId);
  const roomId = await chat(page, 'createRoom');
  await chat(page, 'say', roomId, 'from a browser');
  const carla = await register(stage.server);
  await carla.join(roomId);
  await carla.send(roomId, 'good morning');
  await page.waitForFunction(`chat.heard(${JSON.stringify(roomId)}).length === 2`);
  assert.deepEqual(await chat(page, 'heard', roomId), ['from a browser', 'good morning']);
  assert.equal(await chat(page, 'refresh'), userId);
  assert.equal(await chat(page, 'signOut'), 'M_UNKNOWN_TOKEN');
}

/** Waits until what this selector names has the focus: keys that are pressed before it would go nowhere. */
async function atFocus(page: Page, selector: string): Promise<void> {
  await page.locator(`${selector}:focus`).waitFor();
}

/** Presses Tab until the button of this value has the focus. */
async function tabTo(page: Page, value: string): Promise<void> {
  await page.waitForLoadState();
  for (let count = 0; count < 20; count++) {
    if ((await page.evaluate('document.activeElement?.value')) === value) return;
    // One after the other, as a person does.
    await page.keyboard.press('Tab');
  }
  assert.fail(`Tab does not lead to ${value} on ${page.url()}`);
}

test(`by the provider behind the pages: signs in, syncs, sends, refreshes, signs out${why}`, {
  skip,
}, async () => {
  const page = await stage.open();
  stage.provider.person = { sub: 'agnes-1', preferred_username: 'agnes', name: 'Agnes Lind' };
  await page.goto(WEBSITE);
  await chat(page, 'signIn', SERVER);
  await page.getByRole('link', { name: 'Staff account' }).click();
  await page.getByRole('button', { name: 'Allow', exact: true }).click();
  await live(page, '@agnes:kurir.test');
  assert.deepEqual(stage.complaints, []);
});

test(`by the password and the keyboard alone${why}`, { skip }, async () => {
  const birger = await register(stage.server, 'birger');
  const page = await stage.open();
  await page.goto(WEBSITE);
  await chat(page, 'signIn', SERVER);
  await page.waitForURL(`${SERVER}/sign-in**`);
  await atFocus(page, '[autocomplete=username]');
  await page.keyboard.type('birger');
  await page.keyboard.press('Tab');
  await atFocus(page, '[type=password]');
  await page.keyboard.type('wrong');
  await page.keyboard.press('Enter');
  await atFocus(page, '[role=alert]');
  await page.keyboard.press('Tab');
  await atFocus(page, '[autocomplete=username]');
  await page.keyboard.press('Tab');
  await atFocus(page, '[type=password]');
  await page.keyboard.type(birger.password);
  await page.keyboard.press('Enter');
  await page.waitForURL(`${SERVER}/oauth2/authorize**`);
  await tabTo(page, 'allow');
  await page.keyboard.press('Enter');
  await live(page, birger.userId);
  assert.deepEqual(stage.complaints, []);
});

test(`who says no is back at the client, with access_denied${why}`, { skip }, async () => {
  const page = await stage.open();
  await register(stage.server, 'dora');
  await page.goto(WEBSITE);
  await chat(page, 'signIn', SERVER);
  await page.getByLabel('User name').fill('dora');
  await page.getByLabel('Password').fill('password of dora');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByRole('button', { name: 'Do not allow' }).click();
  await page.waitForURL(`${WEBSITE}/**`);
  assert.equal(new URLSearchParams(new URL(page.url()).hash.slice(1)).get('error'), 'access_denied');
});
