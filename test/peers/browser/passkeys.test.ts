/** Passkeys by Chromium's own authenticator: https://chromedevtools.github.io/devtools-protocol/tot/WebAuthn/ */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TOTP } from 'otpauth';
import type { Page } from 'playwright-core';
import { register } from '#test/harness/client.ts';
import { skip, why } from './chromium.ts';
import { SERVER, type Stage, startStage } from './stage.ts';

let stage: Stage;

before(async () => {
  if (!skip) stage = await startStage();
});
after(() => stage?.[Symbol.asyncDispose]());

async function signIn(page: Page, name: string, password: string): Promise<void> {
  await page.goto(`${SERVER}/sign-in`);
  await page.locator('#name').fill(name);
  await page.locator('#password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

async function signOut(page: Page): Promise<void> {
  await page.goto(`${SERVER}/account`);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Signed out' }).waitFor();
}

test(`a passkey is registered, signs in without a name, and is the second step${why}`, { skip }, async () => {
  const agnes = await register(stage.server, 'agnes');
  const page = await stage.open();
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      ...{ protocol: 'ctap2', transport: 'internal', hasResidentKey: true },
      ...{ hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
    },
  });
  await signIn(page, 'agnes', agnes.password);
  await page.waitForURL(`${SERVER}/account`);
  await page.goto(`${SERVER}/account/second-step`);
  await page.getByLabel('Name of the passkey').fill('My laptop');
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await page.getByRole('heading', { name: 'Your recovery codes' }).waitFor();
  await signOut(page);
  await page.goto(`${SERVER}/sign-in?next=%2Faccount%2Fdevices`);
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.waitForURL(`${SERVER}/account/devices`);
  await signOut(page);
  await signIn(page, 'agnes', agnes.password);
  await page.waitForURL(`${SERVER}/sign-in/second-step`);
  await page.getByRole('button', { name: 'passkey' }).click();
  await page.waitForURL(`${SERVER}/account`);
  assert.deepEqual(stage.complaints, []);
});

test(`an app with codes is set up by what the page shows, and asked for${why}`, { skip }, async () => {
  const birger = await register(stage.server, 'birger');
  const page = await stage.open({ javaScriptEnabled: false });
  await signIn(page, 'birger', birger.password);
  await page.waitForURL(`${SERVER}/account`);
  await page.goto(`${SERVER}/account/second-step/app`);
  const text = await page.locator('main').innerText();
  const [shown = ''] = /\b[A-Z2-7]{4}(?: ?[A-Z2-7]{4})+\b/.exec(text) ?? [];
  const app = new TOTP({ secret: shown.replaceAll(' ', '') });
  await page.locator('input[name=code]').fill(app.generate());
  await page
    .locator('form', { has: page.locator('input[name=code]') })
    .getByRole('button')
    .click();
  await page.getByRole('heading', { name: 'Your recovery codes' }).waitFor();
  await signOut(page);
  await signIn(page, 'birger', birger.password);
  await page.waitForURL(`${SERVER}/sign-in/second-step`);
  await page.locator('input[name=code]').fill(app.generate({ timestamp: Date.now() + 30_000 }));
  await page
    .locator('form', { has: page.locator('input[name=code]') })
    .getByRole('button')
    .click();
  await page.waitForURL(`${SERVER}/account`);
});
