/** The second step of a sign-in by password: a code of an app, a passkey, or a recovery code; or setting one up. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import * as users from '#storage/users.ts';
import type { ServerContext } from '../context.ts';
import { type Speech, speechFor } from '../languages/choose.ts';
import { fill } from '../languages/texts.ts';
import { type Field, hiddenField, inputField, problemBox } from '../pages/fields.ts';
import { FORM_LIMIT, formFields } from '../pages/forms.ts';
import { type Html, html, sendPage } from '../pages/html.ts';
import { refusalText } from '../pages/refusal-text.ts';
import type { Challenges } from '../second-factor/challenges.ts';
import { type Factors, factorsOf } from '../second-factor/factors.ts';
import { passkeyForm } from '../second-factor/passkey-form.ts';
import { PASSKEY_SCRIPT } from '../second-factor/passkey-script.ts';
import { passkeySite } from '../second-factor/passkey-site.ts';
import { addPasskey, creationOptions, requestOptions, userOfPasskey } from '../second-factor/passkeys.ts';
import { newRecoveryCodes, useRecoveryCode } from '../second-factor/recovery.ts';
import { appForm, codesShown, passkeyNameField } from '../second-factor/set-up-form.ts';
import { isCodeOfApp, secretToSetUp, setUpApp } from '../second-factor/totp-app.ts';
import { startSession } from './browser-sessions.ts';
import { SIGN_IN_PATH } from './next.ts';
import type { PendingSignIn, PendingSignIns } from './pending-sign-ins.ts';
import { senderOf, type Visitor, visitorOf } from './visitor.ts';

const SHOW_PATH = `${SIGN_IN_PATH}/second-step`;
const SET_UP_PATH = `${SHOW_PATH}/set-up`;

/** Where those go on who have shown their password. */
export const STEP_PATHS = { show: SHOW_PATH, set_up: SET_UP_PATH } as const;

interface Memory {
  readonly pending: PendingSignIns;
  readonly challenges: Challenges;
}

/** Somebody before the second step, with what their browser sends. */
interface Stepping {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly speech: Speech;
  readonly visitor: Visitor;
  readonly signIn: PendingSignIn;
  /** Empty where the page is only looked at. */
  readonly form: URLSearchParams;
}

type Act = (stepping: Stepping) => Promise<FastifyReply>;

export function secondStepPages(pages: FastifyInstance, ctx: ServerContext, memory: Memory): void {
  const { challenges } = memory;
  const limits = { bodyLimit: FORM_LIMIT };
  const at = (step: PendingSignIn['step'], act: Act) => (request: FastifyRequest, reply: FastifyReply) =>
    stepOf(ctx, memory, { request, reply, step, act });

  pages.get(
    SHOW_PATH,
    at('show', (stepping) => sendShow(ctx, stepping)),
  );
  pages.post(
    SHOW_PATH,
    limits,
    at('show', (stepping) => show(ctx, memory, stepping)),
  );
  pages.post(
    `${SHOW_PATH}/passkey`,
    limits,
    at('show', (stepping) => showPasskey(ctx, memory, stepping)),
  );
  pages.post(
    `${SHOW_PATH}/passkey/options`,
    limits,
    at('show', async ({ request, reply, visitor, signIn }) => {
      ctx.limits.take('passkey', request.ip);
      const options = await requestOptions(ctx, signIn.userId);
      challenges.set(visitor.id, String(options?.challenge));
      return reply.header('cache-control', 'no-store').send(options ?? {});
    }),
  );
  pages.get(
    SET_UP_PATH,
    at('set_up', (stepping) => sendSetUp(ctx, stepping)),
  );
  pages.post(
    SET_UP_PATH,
    limits,
    at('set_up', (stepping) => setUp(ctx, memory, stepping)),
  );
  pages.post(
    `${SET_UP_PATH}/passkey`,
    limits,
    at('set_up', (stepping) => makePasskey(ctx, memory, stepping)),
  );
  pages.post(
    `${SET_UP_PATH}/passkey/options`,
    limits,
    at('set_up', async ({ request, reply, visitor, signIn }) => {
      ctx.limits.take('passkey', request.ip);
      const options = await creationOptions(ctx, signIn.userId);
      challenges.set(visitor.id, String(options?.challenge));
      return reply.header('cache-control', 'no-store').send(options ?? {});
    }),
  );
}

/** Lets those act who have shown their password in this browser; others begin again. */
async function stepOf(
  ctx: ServerContext,
  { pending }: Memory,
  asked: { request: FastifyRequest; reply: FastifyReply; step: PendingSignIn['step']; act: Act },
): Promise<FastifyReply> {
  const { request, reply, step, act } = asked;
  const form = formFields(request.body);
  const visitor = request.method === 'GET' ? visitorOf(ctx, request) : senderOf(ctx, request, form);
  const signIn = visitor && pending.of(visitor.id);
  if (visitor === undefined || signIn === undefined || signIn.step !== step) {
    return reply.redirect(SIGN_IN_PATH, 303);
  }
  return await act({ request, reply, speech: speechFor(ctx, request), visitor, signIn, form });
}

async function show(ctx: ServerContext, memory: Memory, stepping: Stepping): Promise<FastifyReply> {
  const { signIn, form, speech } = stepping;
  const [code, recovery] = [form.get('code'), form.get('recovery')];
  const isRight = await orRefusal(speech, () =>
    recovery === null
      ? isCodeOfApp(ctx, signIn.userId, code ?? '')
      : useRecoveryCode(ctx, signIn.userId, recovery),
  );
  if (isRight === true) return await signInNow(ctx, memory, stepping);
  return await sendShow(ctx, stepping, isRight === false ? wrong(speech, 'wrongCode') : isRight);
}

async function showPasskey(ctx: ServerContext, memory: Memory, stepping: Stepping): Promise<FastifyReply> {
  const { signIn, form, speech, visitor } = stepping;
  const challenge = memory.challenges.take(visitor.id);
  const isRight = await orRefusal(speech, async () => {
    ctx.limits.take('second_factor', signIn.userId);
    if (challenge === undefined) return false;
    const answered = { credential: form.get('credential') ?? '', challenge, userId: signIn.userId };
    return (await userOfPasskey(ctx, answered)) !== undefined;
  });
  if (isRight === true) return await signInNow(ctx, memory, stepping);
  return await sendShow(ctx, stepping, isRight === false ? wrong(speech, 'wrongPasskey') : isRight);
}

async function setUp(ctx: ServerContext, memory: Memory, stepping: Stepping): Promise<FastifyReply> {
  const { signIn, form, speech } = stepping;
  const isRight = await orRefusal(speech, () => setUpApp(ctx, signIn.userId, form.get('code') ?? ''));
  if (isRight === true) return await showCodes(ctx, memory, stepping);
  return await sendSetUp(ctx, stepping, isRight === false ? wrong(speech, 'wrongCode') : isRight);
}

async function makePasskey(ctx: ServerContext, memory: Memory, stepping: Stepping): Promise<FastifyReply> {
  const { signIn, form, speech, visitor } = stepping;
  const challenge = memory.challenges.take(visitor.id) ?? '';
  const made = {
    ...{ credential: form.get('credential') ?? '', challenge, name: form.get('passkey_name') ?? '' },
  };
  const outcome = challenge === '' ? 'refused' : await addPasskey(ctx, signIn.userId, made);
  if (outcome === 'added') return await showCodes(ctx, memory, stepping);
  return await sendSetUp(ctx, stepping, wrong(speech, 'wrongPasskey'));
}

/** Signs in, and on to where the person was going. */
async function signInNow(ctx: ServerContext, memory: Memory, stepping: Stepping): Promise<FastifyReply> {
  const { reply, signIn } = stepping;
  await begin(ctx, memory, stepping);
  return reply.redirect(signIn.next, 303);
}

/** Signs in, and shows the recovery codes of the new factor before going on. */
async function showCodes(ctx: ServerContext, memory: Memory, stepping: Stepping): Promise<FastifyReply> {
  const { reply, signIn, speech } = stepping;
  const { page, factors } = speech.texts;
  const codes = await newRecoveryCodes(ctx, signIn.userId);
  await begin(ctx, memory, stepping);
  const body = html`${codesShown(speech.texts, codes)}
<p><a class="button" href="${signIn.next}">${page.continue}</a></p>`;
  return sendPage(reply, { title: factors.codesTitle, body, speech });
}

async function begin(ctx: ServerContext, { pending }: Memory, stepping: Stepping): Promise<void> {
  const { request, reply, visitor, signIn } = stepping;
  pending.end(visitor.id);
  // What has happened to the account since the password was shown.
  const user = await users.of(ctx.db, signIn.userId);
  if (user === undefined || user.deactivatedTs !== undefined || user.lockedTs !== undefined) return;
  if (user.passwordHash !== signIn.passwordHash) return;
  await startSession(ctx, request, reply, { userId: signIn.userId, hasSecondFactor: true });
}

interface Refusal {
  readonly problem: string;
  readonly status: number;
}

function wrong(speech: Speech, why: 'wrongCode' | 'wrongPasskey'): Refusal {
  return { problem: speech.texts.factor[why], status: 403 };
}

async function orRefusal(speech: Speech, check: () => Promise<boolean>): Promise<boolean | Refusal> {
  try {
    return await check();
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    return { problem: refusalText(speech.texts, error), status: error.status };
  }
}

async function sendShow(
  ctx: ServerContext,
  { reply, speech, visitor, signIn }: Stepping,
  refusal?: Refusal,
): Promise<FastifyReply> {
  const { factor } = speech.texts;
  const factors = await factorsOf(ctx.db, signIn.userId);
  const hasPasskeys = passkeySite(ctx.config) !== undefined && factors.passkeys.length > 0;
  const token = hiddenField('form_token', visitor.formToken);
  const passkey = passkeyForm(speech.texts, {
    ...{ action: `${SHOW_PATH}/passkey`, options: `${SHOW_PATH}/passkey/options` },
    ...{ label: factor.usePasskey, formToken: visitor.formToken },
  });
  const body = html`${problemBox(speech.texts, refusal?.problem)}
${factors.totpTs === undefined ? html`` : codeForm(ctx, { speech, token, problem: refusal?.problem })}
${hasPasskeys ? passkey : html``}
${recoveryForm({ speech, token, factors })}`;
  return sendPage(reply, {
    ...{ title: factor.title, body, speech, address: SHOW_PATH, status: refusal?.status ?? 200 },
    ...(hasPasskeys && { script: PASSKEY_SCRIPT }),
  });
}

function codeForm(
  { serverName }: ServerContext,
  { speech, token, problem }: { speech: Speech; token: Html; problem: string | undefined },
): Html {
  const { factor, page } = speech.texts;
  const code: Field = {
    ...{ name: 'code', label: factor.code, hint: fill(factor.codeHint, { serverName }), isFirst: true },
    inputmode: 'numeric',
    autocomplete: 'one-time-code',
  };
  return html`<form method="post" action="${SHOW_PATH}">
${token}
${inputField(code, problem)}
<button>${page.continue}</button>
</form>`;
}

function recoveryForm({ speech, token, factors }: { speech: Speech; token: Html; factors: Factors }): Html {
  if (factors.recoveryCodes === 0) return html``;
  const { factor, page } = speech.texts;
  const recovery = {
    ...{ name: 'recovery', label: factor.recovery, hint: factor.recoveryHint, autocomplete: 'off' },
  };
  return html`<details>
<summary>${factor.useRecovery}</summary>
<form method="post" action="${SHOW_PATH}">
${token}
${inputField(recovery)}
<button>${page.continue}</button>
</form>
</details>`;
}

async function sendSetUp(
  ctx: ServerContext,
  { reply, speech, visitor, signIn }: Stepping,
  refusal?: Refusal,
): Promise<FastifyReply> {
  const { factor, factors } = speech.texts;
  const { userId } = signIn;
  const { formToken } = visitor;
  const secret = await secretToSetUp(ctx, userId);
  const hasPasskeys = passkeySite(ctx.config) !== undefined;
  const passkey = passkeyForm(speech.texts, {
    ...{ action: `${SET_UP_PATH}/passkey`, options: `${SET_UP_PATH}/passkey/options` },
    ...{ label: factors.addPasskey, formToken, fields: passkeyNameField(speech.texts) },
  });
  const app = {
    ...{ action: SET_UP_PATH, formToken, secret: secret ?? '', serverName: ctx.serverName, userId },
    problem: refusal?.problem,
  };
  const body = html`${problemBox(speech.texts, refusal?.problem)}
<p>${factor.required}</p>
<h2>${factors.app}</h2>
${appForm(speech.texts, app)}
${hasPasskeys ? html`<h2>${factors.passkeys}</h2><p>${factors.passkeysHow}</p>${passkey}` : html``}`;
  return sendPage(reply, {
    ...{ title: factors.title, body, speech, address: SET_UP_PATH, status: refusal?.status ?? 200 },
    ...(hasPasskeys && { script: PASSKEY_SCRIPT }),
  });
}
