/** What cannot be undone: replacing the digital identity, and ending the account. */

import type { FastifyInstance, FastifyReply } from 'fastify';
import * as crossSigningKeys from '#storage/cross-signing-keys.ts';
import * as crossSigningResets from '#storage/cross-signing-resets.ts';
import { deactivate } from '../auth/accounts.ts';
import { leaveRooms } from '../auth/leave-rooms.ts';
import type { ServerContext } from '../context.ts';
import { fill } from '../languages/texts.ts';
import { checkbox } from '../pages/fields.ts';
import { html, sendPage } from '../pages/html.ts';
import { endSession } from '../sign-in/browser-sessions.ts';
import { formToken, sendAccountPage } from './account-page.ts';
import { ACCOUNT, CROSS_SIGNING_RESET, DEACTIVATE } from './paths.ts';
import { onGet, onPost, type Visit } from './visit.ts';

const RESET_MINUTES = 10;

export function endingPages(pages: FastifyInstance, ctx: ServerContext): void {
  onGet(pages, ctx, CROSS_SIGNING_RESET, { isSensitive: true, act: (visit) => askReset(ctx, visit) });
  onPost(pages, ctx, CROSS_SIGNING_RESET, {
    ...{ from: CROSS_SIGNING_RESET, isSensitive: true },
    act: (visit) => allowReset(ctx, visit),
  });
  onGet(pages, ctx, DEACTIVATE, { isSensitive: true, act: async (visit) => askDeactivation(visit) });
  onPost(pages, ctx, DEACTIVATE, {
    ...{ from: DEACTIVATE, isSensitive: true },
    act: (visit) => deactivateAccount(ctx, visit),
  });
}

async function askReset({ db }: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { crossSigning: words, page } = visit.speech.texts;
  const keys = await crossSigningKeys.ofUser(db, visit.person.userId);
  const question = html`<p>${words.warning}</p>
<p>${words.onlyIf}</p>
<form method="post" action="${CROSS_SIGNING_RESET}">
${formToken(visit)}
<button>${words.allow}</button>
<a class="button second" href="${ACCOUNT}">${page.cancel}</a>
</form>`;
  const body = keys.has('master') ? question : html`<p>${words.none}</p>`;
  return sendAccountPage(visit, { path: CROSS_SIGNING_RESET, title: words.title, body });
}

/** For a few minutes the client may replace the keys: the stage `m.oauth` looks whether it may. */
async function allowReset(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { crossSigning: words } = visit.speech.texts;
  const { userId } = visit.person;
  const untilTs = ctx.clock.now() + RESET_MINUTES * 60_000;
  await ctx.db.write('crossSigningResets.allow', (tx) => crossSigningResets.allowReset(tx, userId, untilTs));
  const body = html`<p>${fill(words.isDone, { minutes: RESET_MINUTES })}</p>`;
  return sendAccountPage(visit, { path: CROSS_SIGNING_RESET, title: words.done, body });
}

function askDeactivation(visit: Visit, problem?: string): FastifyReply {
  const { deactivation: words, page } = visit.speech.texts;
  const body = html`<p>${fill(words.warning, { userId: visit.person.userId })}</p>
<form method="post" action="${DEACTIVATE}">
${formToken(visit)}
${checkbox({ name: 'erase', label: words.erase })}
${checkbox({ name: 'understand', label: words.understand, isRequired: true })}
<button>${words.deactivate}</button>
<a class="button second" href="${ACCOUNT}">${page.cancel}</a>
</form>`;
  return sendAccountPage(visit, { path: DEACTIVATE, title: words.title, body, problem });
}

async function deactivateAccount(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { request, reply, form, speech, person } = visit;
  const { deactivation: words } = speech.texts;
  if (form.get('understand') !== 'yes') return askDeactivation(visit, words.mustConfirm);
  const { userId } = person;
  await deactivate(ctx, userId, { erase: form.get('erase') === 'yes' });
  ctx.background.run(leaveRooms(ctx, userId), 'a deactivated user could not leave all rooms');
  await endSession(ctx, request, reply);
  return sendPage(reply, { title: words.done, body: html`<p>${words.isDone}</p>`, speech });
}
