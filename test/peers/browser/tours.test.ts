/**
 * The pages that come in the course of something, in Chromium, with and without JavaScript: second steps, forms with a
 * problem, what comes before and after the provider, letters. Each is looked at as the pages of `pages.test.ts` are.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Secret, TOTP } from 'otpauth';
import type { Page } from 'playwright-core';
import { createAccount } from '#server/auth/accounts.ts';
import type { PolicyText } from '#server/consent/terms.ts';
import { login, request, TestClient } from '#test/harness/client.ts';
import { authorizePath, newDevice, registerClient, scopeFor } from '#test/harness/oauth.ts';
import { skip, why } from './chromium.ts';
import { faultsOf, violationsOfCopy } from './looks.ts';
import { SERVER, type Stage, startStage, WEBSITE } from './stage.ts';

const TERMS: readonly PolicyText[] = [
  {
    ...{ policyId: 'privacy_policy', version: '1.0', language: 'en', name: 'Privacy policy' },
    url: 'https://example.org/privacy',
  },
];
const PASSWORD = 'a password of the test';
const SSO_STAGE = '/_matrix/client/v3/auth/m.login.sso/fallback/web';

let stage: Stage;
/** Where all need a second factor. */
let strict: Stage;
/** Where people sign in by one provider alone. */
let delegated: Stage;

before(async () => {
  if (skip) return;
  stage = await startStage({ registration: 'open', terms: TERMS });
  strict = await startStage({ secondFactor: 'required' });
  delegated = await startStage({ passwordLogin: false });
});
after(async () => {
  for (const one of [stage, strict, delegated]) await one?.[Symbol.asyncDispose]();
});

/** Somebody in a browser: what is wrong with the pages that they look at is gathered. */
interface Tourist {
  readonly page: Page;
  /** For the names of accounts, which are no others in the other mode. */
  readonly suffix: string;
  /** Looks at the page that is shown, or at another one of the same browser. */
  look(name: string, shown?: Page): Promise<void>;
  /** Looks at a page that says what is wrong. */
  lookAtProblem(name: string): Promise<void>;
}

/** Adds a tour, once with JavaScript and once without. */
function tour(name: string, go: (tourist: Tourist) => Promise<void>, on = (): Stage => stage): void {
  for (const javaScriptEnabled of [true, false]) {
    const how = javaScriptEnabled ? 'with' : 'without';
    test(`${name}, ${how} JavaScript${why}`, { skip }, async () => {
      const page = await on().open({ javaScriptEnabled });
      const copy = javaScriptEnabled ? undefined : await on().open();
      const found: string[] = [];
      const look = async (what: string, shown = page) =>
        void found.push(...(await faultsOf(shown, what, copy)));
      const lookAtProblem = async (what: string) => {
        await page.locator('#problem').waitFor();
        await look(what);
      };
      await go({ page, look, lookAtProblem, suffix: javaScriptEnabled ? '' : '2' });
      assert.deepEqual(found, []);
      await page.context().close();
    });
  }
}

async function account(localpart: string): Promise<TestClient> {
  await makeAccount(stage, localpart);
  return await login(stage.server, localpart, PASSWORD);
}

async function makeAccount({ server }: Stage, localpart: string): Promise<void> {
  const made = await createAccount(server.ctx, { localpart, password: PASSWORD });
  assert.equal(made.kind, 'created');
}

async function signIn(page: Page, name: string, password = PASSWORD): Promise<void> {
  await page.goto(`${SERVER}/sign-in`);
  await page.locator('#name').fill(name);
  await page.locator('#password').fill(password);
  await press(page, 'Sign in');
}

async function press(page: Page, name: string): Promise<void> {
  await page.getByRole('button', { name, exact: true }).click();
}

/** Sends forms as a browser would that does not look at what they need. */
async function withoutChecks(page: Page): Promise<void> {
  await page.evaluate('for (const form of document.forms) form.noValidate = true; undefined');
}

async function title(page: Page, name: string): Promise<void> {
  await page.getByRole('heading', { name, exact: true, level: 1 }).waitFor();
}

/** Sends the form with the token of an older page. */
async function withOldToken(page: Page): Promise<void> {
  await page.evaluate(
    'for (const one of document.getElementsByName("form_token")) one.value = "old"; undefined',
  );
}

/** The app that a page shows the key of. */
async function appOf(page: Page): Promise<TOTP> {
  const text = await page.locator('main').innerText();
  const [key = ''] = /\b[A-Z2-7]{4}(?: [A-Z2-7]{1,4})+\b/.exec(text) ?? [];
  return new TOTP({ secret: Secret.fromBase32(key.replaceAll(' ', '')) });
}

tour(
  'signing in and its problems, to the second step and back',
  async ({ page, look, lookAtProblem, suffix }) => {
    const name = `anna${suffix}`;
    await account(name);
    await signIn(page, name, 'wrong');
    await lookAtProblem('sign-in, wrong password');
    await withOldToken(page);
    await page.locator('#password').fill(PASSWORD);
    await press(page, 'Sign in');
    await lookAtProblem('sign-in, expired');
    await signIn(page, name);
    await page.waitForURL(`${SERVER}/account`);

    await page.goto(`${SERVER}/account/second-step/app`);
    const app = await appOf(page);
    await page.locator('#code').fill('000000');
    await press(page, 'Set up');
    await lookAtProblem('setting an app up, wrong code');
    await page.locator('#code').fill(app.generate());
    await press(page, 'Set up');
    await title(page, 'Your recovery codes');
    await look('recovery codes');
    const [code = ''] =
      /\b[a-z2-7]+(?:-[a-z2-7]+)+\b/.exec(await page.locator('main ul').first().innerText()) ?? [];
    await page.goto(`${SERVER}/account/second-step`);
    await look('second steps, with an app');
    await page.goto(`${SERVER}/account`);
    await press(page, 'Sign out');
    await title(page, 'Signed out');
    await look('signed out');

    await signIn(page, name);
    await page.waitForURL(`${SERVER}/sign-in/second-step`);
    await look('second step');
    await page.locator('#code').fill('000000');
    await press(page, 'Continue');
    await lookAtProblem('second step, wrong code');
    await page.goto(`${SERVER}/sign-in/second-step`);
    await page.getByText('Use a recovery code').click();
    await look('second step, recovery code');
    await page.locator('#recovery').fill(code);
    await page.locator('details').getByRole('button').click();
    await page.waitForURL(`${SERVER}/account`);
  },
);

tour('an account is made by who accepts the policies, and its forms tell of problems', async (tourist) => {
  const { page, look, lookAtProblem, suffix } = tourist;
  await page.goto(`${SERVER}/sign-in`);
  await page.getByRole('link', { name: 'Create an account' }).click();
  await look('registration');
  await withoutChecks(page);
  await page.locator('#username').fill(`berit${suffix}`);
  await page.locator('#password').fill(PASSWORD);
  await page.locator('#repeated').fill('another one');
  await press(page, 'Create account');
  await lookAtProblem('registration, passwords differ');
  await withoutChecks(page);
  await page.locator('#password').fill(PASSWORD);
  await page.locator('#repeated').fill(PASSWORD);
  await press(page, 'Create account');
  await lookAtProblem('registration, policies not accepted');
  await page.locator('#password').fill(PASSWORD);
  await page.locator('#repeated').fill(PASSWORD);
  await page.getByLabel('I have read these policies').check();
  await press(page, 'Create account');
  await page.waitForURL(`${SERVER}/account`);

  await page.goto(`${SERVER}/account/password`);
  for (const id of ['current', 'password', 'repeated'])
    await page.locator(`#${id}`).fill('wrong wrong wrong');
  await press(page, 'Change the password');
  await lookAtProblem('password, wrong');
  await page.goto(`${SERVER}/account/profile`);
  await page.locator('#displayname').fill('x'.repeat(1_000));
  await press(page, 'Save');
  await lookAtProblem('profile, name too long');
  await page.locator('#displayname').fill('Berit');
  await press(page, 'Save');
  await look('profile, saved');
  await withOldToken(page);
  await press(page, 'Save');
  await lookAtProblem('profile, expired');
  await page.goto(`${SERVER}/account/devices/view?device_id=NONE`);
  await lookAtProblem('device, unknown');
  await page.goto(`${SERVER}/account/deactivate`);
  await withoutChecks(page);
  await press(page, 'Deactivate my account');
  await lookAtProblem('deactivation, not understood');
  await page.getByLabel('I understand').check();
  await press(page, 'Deactivate my account');
  await look('deactivated');
});

tour(
  'letters: an address is added, and a forgotten password replaced',
  async ({ page, look, lookAtProblem, suffix }) => {
    const name = `carla${suffix}`;
    const address = `${name}@example.org`;
    await account(name);
    await signIn(page, name);
    await page.waitForURL(`${SERVER}/account`);
    await page.goto(`${SERVER}/account/emails`);
    await withoutChecks(page);
    await page.locator('#email').fill('no address');
    await press(page, 'Add an address');
    await lookAtProblem('emails, no address');
    await page.locator('#email').fill(address);
    await press(page, 'Add an address');
    await look('emails, waiting');
    await press(page, 'Continue');
    await lookAtProblem('emails, not confirmed yet');
    await confirmLetter({ page, look }, 'added');
    await press(page, 'Continue');
    await page.waitForURL(`${SERVER}/account/emails?done=email_added`);
    await look('emails, added');

    await page.context().clearCookies();
    await page.goto(`${SERVER}/sign-in`);
    await page.getByRole('link', { name: 'Forgot your password?' }).click();
    await withoutChecks(page);
    await page.locator('#email').fill('no address');
    await press(page, 'Send the letter');
    await lookAtProblem('forgotten, no address');
    await page.locator('#email').fill(address);
    await press(page, 'Send the letter');
    await look('forgotten, waiting');
    await press(page, 'Continue');
    await lookAtProblem('forgotten, not confirmed yet');
    await confirmLetter({ page, look }, 'password');
    await press(page, 'Continue');
    await look('forgotten, new password');
    await page.locator('#password').fill('one two three four');
    await page.locator('#repeated').fill('five six seven eight');
    await press(page, 'Set the password');
    await lookAtProblem('forgotten, passwords differ');
    await page.locator('#password').fill('one two three four');
    await page.locator('#repeated').fill('one two three four');
    await press(page, 'Set the password');
    await title(page, 'The new password is set');
    await look('forgotten, done');
  },
);

/** Follows the link of the last letter in another tab, and comes back to where the person was. */
async function confirmLetter({ page, look }: Pick<Tourist, 'page' | 'look'>, what: string): Promise<void> {
  const tab = await page.context().newPage();
  await tab.goto(`${SERVER}${stage.mail.last.link}`);
  await look(`letter, ${what}`, tab);
  await press(tab, 'Confirm');
  await title(tab, 'Confirmed');
  await look(`letter, ${what}, confirmed`, tab);
  await tab.close();
  await page.bringToFront();
}

tour('by the button of the provider: a newcomer, their client, and what they confirm', async (tourist) => {
  const { page, look, lookAtProblem, suffix } = tourist;
  const { provider } = stage;
  const name = `dora${suffix}`;
  provider.person = undefined;
  await page.goto(`${SERVER}/sign-in`);
  await page.getByRole('link', { name: 'Sign in with Staff account' }).click();
  await title(page, 'Not signed in');
  await lookAtProblem('provider, refused');
  provider.person = { sub: name, preferred_username: name, name: 'Dora Lind' };
  await page.getByRole('link', { name: 'Try again' }).click();
  await page.waitForURL(`${SERVER}/sign-in/new-account`);
  await look('newcomer');
  await withoutChecks(page);
  await page.locator('#username').fill('Not a name!');
  await page.getByLabel('I have read these policies').check();
  await press(page, 'Create account');
  await lookAtProblem('newcomer, no name');
  await page.locator('#username').fill(name);
  await page.getByLabel('I have read these policies').check();
  await press(page, 'Create account');
  await page.waitForURL(`${SERVER}/account`);
  await page.goto(`${SERVER}/account/password`);
  await look('password, none');
  await page.goto(`${SERVER}/sign-in/provider/staff/callback?state=unknown-state`);
  await lookAtProblem('provider, not begun');

  const redirect = `${SERVER}/_matrix/client/v3/login/sso/redirect`;
  await page.goto(`${redirect}?redirectUrl=${encodeURIComponent('io.element.app://connect')}`);
  await look('client, a program');
  await page.goto(`${redirect}/staff?redirectUrl=${encodeURIComponent(`${WEBSITE}/`)}`);
  await look('client, a website');
  await press(page, 'Continue');
  await page.waitForURL(`${WEBSITE}/**`);
  const token = new URL(page.url()).searchParams.get('loginToken');
  const body = { type: 'm.login.token', token };
  const answer = await request(stage.server, 'POST', '/_matrix/client/v3/login', { body });
  const client = new TestClient(stage.server, { ...answer.body, password: '' });

  const { session } = (await client.try('POST', '/delete_devices', { devices: [client.deviceId] })).body;
  provider.person = { sub: `else${suffix}`, preferred_username: `else${suffix}` };
  await page.context().clearCookies();
  await page.goto(`${SERVER}/sign-in/provider/staff`);
  await page.locator('#username').fill(`else${suffix}`);
  await page.getByLabel('I have read these policies').check();
  await press(page, 'Create account');
  await page.waitForURL(`${SERVER}/account`);
  await page.goto(`${SERVER}${SSO_STAGE}?session=${session}`);
  await title(page, 'Not confirmed');
  await lookAtProblem('confirmation by somebody else');
  provider.person = { sub: name, preferred_username: name };
  await page.context().clearCookies();
  await page.goto(`${SERVER}${SSO_STAGE}?session=${session}`);
  await look('confirmation');
  await press(page, 'Confirm');
  await title(page, 'Confirmed');
  await look('confirmation, done');
  const auth = { session };
  assert.equal(
    (await client.try('POST', '/delete_devices', { devices: [client.deviceId], auth })).status,
    200,
  );
});

tour('clients and devices that ask, with problems', async ({ page, look, lookAtProblem, suffix }) => {
  const name = `erik${suffix}`;
  await account(name);
  const redirectUri = `${WEBSITE}/`;
  const clientId = await registerClient(stage.server, {
    ...{ client_name: 'Chat', client_uri: redirectUri, redirect_uris: [redirectUri] },
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  });
  const asked = { redirect_uri: redirectUri, scope: scopeFor(newDevice()) };
  await page.goto(`${SERVER}${authorizePath(clientId, { ...asked, scope: 'nothing' })}`);
  await lookAtProblem('consent, not right, a stranger');
  await signIn(page, name);
  await page.waitForURL(`${SERVER}/account`);
  await page.goto(`${SERVER}${authorizePath(clientId, asked)}`);
  await withOldToken(page);
  await press(page, 'Allow');
  await lookAtProblem('consent, expired');
  await press(page, 'Allow');
  await page.waitForURL(`${WEBSITE}/**`);
  await page.goto(`${SERVER}${authorizePath(clientId, { ...asked, redirect_uri: 'https://evil.example/' })}`);
  await lookAtProblem('consent, another address');

  for (const decision of ['The codes are the same: allow', 'Do not allow']) {
    const form = new URLSearchParams({ client_id: clientId, scope: scopeFor(newDevice()) });
    const grant = await request(stage.server, 'POST', '/oauth2/device_authorization', {
      body: form.toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    await page.goto(`${SERVER}/oauth2/device`);
    await page.locator('#user_code').fill('BBBB-BBBB');
    await press(page, 'Continue');
    await lookAtProblem('device code, wrong');
    await page.locator('#user_code').fill(grant.body.user_code);
    await press(page, 'Continue');
    await look('device code, right');
    await press(page, decision);
    await look(`device code, ${decision}`);
  }
});

tour('the stages that clients leave to a page', async ({ page, look, lookAtProblem, suffix }) => {
  const fallback = (name: string, session: string) =>
    page.goto(`${SERVER}/_matrix/client/v3/auth/${name}/fallback/web?session=${session}`);
  const username = `frida${suffix}`;
  const begun = await request(stage.server, 'POST', '/_matrix/client/v3/register', {
    body: { username, password: PASSWORD },
  });
  const { session } = begun.body;
  await fallback('m.login.terms', session);
  await look('stage, policies');
  await withoutChecks(page);
  await press(page, 'Continue');
  await lookAtProblem('stage, policies not accepted');
  await page.getByLabel('I have read these policies').check();
  await press(page, 'Continue');
  await title(page, 'Confirmed');
  await look('stage, done');

  const client = await account(username);
  const asked = await client.try('POST', '/delete_devices', { devices: [client.deviceId] });
  await fallback('m.login.password', asked.body.session);
  await look('stage, password');
  await page.locator('#user').fill(username);
  await page.locator('#password').fill('wrong');
  await press(page, 'Confirm');
  await lookAtProblem('stage, wrong password');
});

tour(
  'where all need a second factor, who has none sets one up',
  async ({ page, look, lookAtProblem, suffix }) => {
    const name = `hanna${suffix}`;
    await makeAccount(strict, name);
    await signIn(page, name);
    await page.waitForURL(`${SERVER}/sign-in/second-step/set-up`);
    await look('second step, to be set up');
    const app = await appOf(page);
    await page.locator('#code').fill('000000');
    await press(page, 'Set up');
    await lookAtProblem('second step, to be set up, wrong code');
    await page.locator('#code').fill(app.generate());
    await press(page, 'Set up');
    await title(page, 'Your recovery codes');
    await look('recovery codes before going on');
    await page.getByRole('link', { name: 'Continue' }).click();
    await page.waitForURL(`${SERVER}/account`);
  },
  () => strict,
);

tour(
  'where there is one provider alone, the sign-in page leads to it, and on to the account',
  async ({ page, look, lookAtProblem, suffix }) => {
    const { provider } = delegated;
    provider.person = undefined;
    await page.goto(`${SERVER}/account`);
    await title(page, 'Not signed in');
    await lookAtProblem('sole provider, refused');
    provider.person = { sub: `ivar${suffix}`, preferred_username: `ivar${suffix}`, name: 'Ivar' };
    await page.goto(`${SERVER}/account/devices`);
    await title(page, 'Devices');
    assert.equal(page.url(), `${SERVER}/account/devices`);
    await look('sole provider, devices');
  },
  () => delegated,
);

test(`axe-core finds in a copy what is wrong with a page without JavaScript${why}`, { skip }, async () => {
  const page = await stage.open({ javaScriptEnabled: false });
  await page.goto(`${SERVER}/sign-in`);
  const copy = await stage.open();
  assert.deepEqual(await violationsOfCopy(page, copy), []);
  await page.evaluate('for (const one of [...document.querySelectorAll("label")]) one.remove(); undefined');
  const found = await violationsOfCopy(page, copy);
  assert.ok(
    found.some((text) => text.startsWith('label: ')),
    found.join('\n'),
  );
});

test(`the page for signing in of old clients tells of what is wrong${why}`, { skip }, async () => {
  await account('gerda');
  const page = await stage.open();
  await page.goto(`${SERVER}/_matrix/static/client/login/`);
  await page.locator('#user').fill('gerda');
  await page.locator('#password').fill('wrong');
  await press(page, 'Sign in');
  await page.locator('.problem:not([hidden])').waitFor();
  assert.deepEqual(await faultsOf(page, 'old sign-in, wrong'), []);
  await page.locator('#password').fill(PASSWORD);
  await press(page, 'Sign in');
  await page.locator('.done:not([hidden])').waitFor();
  assert.deepEqual(await faultsOf(page, 'old sign-in, done'), []);
});

test(`none of these pages has anything to complain of${why}`, { skip }, () => {
  const all = [stage, strict, delegated].flatMap(({ complaints }) => complaints);
  assert.deepEqual(all, []);
});
