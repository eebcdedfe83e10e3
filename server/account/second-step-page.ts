/** The second factors of a person: an app with codes, passkeys, and recovery codes. */

import type { FastifyInstance, FastifyReply } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import type { Tx } from '#storage/database.ts';
import * as passkeys from '#storage/passkeys.ts';
import * as recoveryCodes from '#storage/recovery-codes.ts';
import * as totpSecrets from '#storage/totp-secrets.ts';
import type { ServerContext } from '../context.ts';
import { fill } from '../languages/texts.ts';
import { hiddenField } from '../pages/fields.ts';
import { type Html, html } from '../pages/html.ts';
import { refusalText } from '../pages/refusal-text.ts';
import { Challenges } from '../second-factor/challenges.ts';
import { type Factors, factorsOf, hasFactor } from '../second-factor/factors.ts';
import { passkeyForm } from '../second-factor/passkey-form.ts';
import { PASSKEY_SCRIPT } from '../second-factor/passkey-script.ts';
import { passkeySite } from '../second-factor/passkey-site.ts';
import { addPasskey, creationOptions } from '../second-factor/passkeys.ts';
import { newRecoveryCodes } from '../second-factor/recovery.ts';
import { appForm, codesShown, passkeyNameField } from '../second-factor/set-up-form.ts';
import { secretToSetUp, setUpApp } from '../second-factor/totp-app.ts';
import { formToken, sendAccountPage } from './account-page.ts';
import { dateText } from './dates.ts';
import { SECOND_STEP } from './paths.ts';
import { goBack, onGet, onPost, type Visit } from './visit.ts';

const APP = `${SECOND_STEP}/app`;
const PASSKEY = `${SECOND_STEP}/passkey`;
const CODES = `${SECOND_STEP}/codes`;

/** All of it needs a fresh confirmation: whoever finds a browser open must not lock its owner out. */
export function secondStepPage(pages: FastifyInstance, ctx: ServerContext): void {
  const challenges = new Challenges(ctx.clock);
  const sensitive = { from: SECOND_STEP, isSensitive: true };
  onGet(pages, ctx, SECOND_STEP, { isSensitive: true, act: (visit) => sendFactors(ctx, visit) });
  if (ctx.config.secondFactor === 'off') return;
  onGet(pages, ctx, APP, { isSensitive: true, act: (visit) => sendApp(ctx, visit) });
  onPost(pages, ctx, APP, { ...sensitive, from: APP, act: (visit) => addApp(ctx, visit) });
  onPost(pages, ctx, `${APP}/remove`, { ...sensitive, act: (visit) => removeApp(ctx, visit) });
  onPost(pages, ctx, `${PASSKEY}/options`, {
    ...sensitive,
    act: async ({ reply, person }) => {
      ctx.limits.take('passkey', person.userId);
      const options = await creationOptions(ctx, person.userId);
      challenges.set(person.formToken, String(options?.challenge));
      return reply.header('cache-control', 'no-store').send(options ?? {});
    },
  });
  onPost(pages, ctx, PASSKEY, { ...sensitive, act: (visit) => makePasskey(ctx, challenges, visit) });
  onPost(pages, ctx, `${PASSKEY}/remove`, { ...sensitive, act: (visit) => removePasskey(ctx, visit) });
  onPost(pages, ctx, CODES, { ...sensitive, act: (visit) => renewCodes(ctx, visit) });
}

async function addApp(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { person, form, speech } = visit;
  try {
    const before = await factorsOf(ctx.db, person.userId);
    const isRight = await setUpApp(ctx, person.userId, form.get('code') ?? '');
    if (!isRight) return await sendApp(ctx, visit, speech.texts.factor.wrongCode);
    return await afterAdding(ctx, visit, before);
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    return await sendApp(ctx, visit, refusalText(speech.texts, error));
  }
}

async function makePasskey(ctx: ServerContext, challenges: Challenges, visit: Visit): Promise<FastifyReply> {
  const { person, form, speech } = visit;
  const { factors: words } = speech.texts;
  const before = await factorsOf(ctx.db, person.userId);
  const challenge = challenges.take(person.formToken);
  const made = { credential: form.get('credential') ?? '', name: form.get('passkey_name') ?? '' };
  const outcome =
    challenge === undefined ? 'refused' : await addPasskey(ctx, person.userId, { ...made, challenge });
  switch (outcome) {
    case 'added':
      return await afterAdding(ctx, visit, before);
    case 'refused':
      return await sendFactors(ctx, visit, words.refused);
    case 'too_many':
      return await sendFactors(ctx, visit, words.tooMany);
  }
}

/** With the first factor come the recovery codes. */
async function afterAdding(ctx: ServerContext, visit: Visit, before: Factors): Promise<FastifyReply> {
  if (hasFactor(before) && before.recoveryCodes > 0) return goBack(visit, SECOND_STEP, 'saved');
  return await renewCodes(ctx, visit);
}

async function renewCodes(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { factors: words, page } = visit.speech.texts;
  if (!hasFactor(await factorsOf(ctx.db, visit.person.userId))) return await sendFactors(ctx, visit);
  const codes = await newRecoveryCodes(ctx, visit.person.userId);
  const body = html`${codesShown(visit.speech.texts, codes)}
<p><a class="button" href="${SECOND_STEP}">${page.continue}</a></p>`;
  return sendAccountPage(visit, { path: SECOND_STEP, title: words.codesTitle, body });
}

async function removeApp(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { userId } = visit.person;
  return await removeFactor(ctx, visit, {
    rest: (factors) => ({ ...factors, totpTs: undefined }),
    remove: (tx) => totpSecrets.remove(tx, userId),
  });
}

async function removePasskey(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { userId } = visit.person;
  const id = visit.form.get('passkey') ?? '';
  return await removeFactor(ctx, visit, {
    rest: (factors) => ({
      ...factors,
      passkeys: factors.passkeys.filter(({ credentialId }) => credentialId !== id),
    }),
    remove: (tx) => passkeys.remove(tx, userId, id),
  });
}

async function removeFactor(
  ctx: ServerContext,
  visit: Visit,
  { rest, remove }: { rest: (factors: Factors) => Factors; remove: (tx: Tx) => Promise<unknown> },
): Promise<FastifyReply> {
  const { userId } = visit.person;
  const isRemoved = await ctx.db.write('factors.remove', async (tx) => {
    const isLast = !hasFactor(rest(await factorsOf(tx, userId)));
    if (isLast && ctx.config.secondFactor === 'required') return false;
    await remove(tx);
    // Recovery codes stand for a factor: without one there is nothing to recover.
    if (isLast) await recoveryCodes.clear(tx, userId);
    return true;
  });
  if (isRemoved) return goBack(visit, SECOND_STEP, 'factor_removed');
  return await sendFactors(ctx, visit, visit.speech.texts.factors.keepOne);
}

async function sendApp(ctx: ServerContext, visit: Visit, problem?: string): Promise<FastifyReply> {
  const { person, speech } = visit;
  const secret = await secretToSetUp(ctx, person.userId);
  if (secret === undefined) return visit.reply.redirect(SECOND_STEP, 303);
  const { serverName } = ctx;
  const body = appForm(speech.texts, {
    ...{ action: APP, formToken: person.formToken, secret, serverName, userId: person.userId, problem },
  });
  return sendAccountPage(visit, { path: APP, title: speech.texts.factors.setUpApp, body, problem });
}

async function sendFactors(ctx: ServerContext, visit: Visit, problem?: string): Promise<FastifyReply> {
  const { factors: words } = visit.speech.texts;
  const page = { path: SECOND_STEP, title: words.title, problem };
  if (ctx.config.secondFactor === 'off') {
    return sendAccountPage(visit, { ...page, body: html`<p>${words.off}</p>` });
  }
  const factors = await factorsOf(ctx.db, visit.person.userId);
  const hasPasskeys = passkeySite(ctx.config) !== undefined;
  const body = html`<p>${words.explains}</p>
${appPart(visit, factors)}
${hasPasskeys ? passkeysPart(visit, factors) : html``}
${hasFactor(factors) ? codesPart(visit, factors) : html``}`;
  return sendAccountPage(visit, { ...page, body, ...(hasPasskeys && { script: PASSKEY_SCRIPT }) });
}

function appPart(visit: Visit, { totpTs }: Factors): Html {
  const { factors: words } = visit.speech.texts;
  if (totpTs === undefined) {
    return html`<h2>${words.app}</h2>
<p>${words.appOff}</p>
<p><a class="button" href="${APP}">${words.setUpApp}</a></p>`;
  }
  return html`<h2>${words.app}</h2>
<p>${fill(words.appOn, { date: dateText(totpTs, visit.speech) })}</p>
<form method="post" action="${APP}/remove">${formToken(visit)}
<button class="second">${words.removeApp}</button></form>`;
}

function passkeysPart(visit: Visit, { passkeys: known }: Factors): Html {
  const { speech } = visit;
  const { factors: words } = speech.texts;
  const items = known.map(({ credentialId, name, createdTs, usedTs }) => {
    const used = usedTs === undefined ? '' : `, ${fill(words.lastUsed, { date: dateText(usedTs, speech) })}`;
    return html`<li>${name} (${fill(words.created, { date: dateText(createdTs, speech) })}${used})
<form method="post" action="${PASSKEY}/remove">${formToken(visit)}${hiddenField('passkey', credentialId)}
<button class="second">${fill(words.removePasskey, { name })}</button></form></li>`;
  });
  const form = passkeyForm(speech.texts, {
    ...{ action: PASSKEY, options: `${PASSKEY}/options`, label: words.addPasskey },
    ...{ formToken: visit.person.formToken, fields: passkeyNameField(speech.texts) },
  });
  return html`<h2>${words.passkeys}</h2>
<p>${words.passkeysHow}</p>
${known.length === 0 ? html`<p>${words.noPasskeys}</p>` : html`<ul>${items}</ul>`}
${form}`;
}

function codesPart(visit: Visit, { recoveryCodes: left }: Factors): Html {
  const { factors: words } = visit.speech.texts;
  return html`<h2>${words.recovery}</h2>
<p>${fill(words.recoveryLeft, { count: left })}</p>
<form method="post" action="${CODES}">${formToken(visit)}
<button class="second">${words.newCodes}</button></form>`;
}
