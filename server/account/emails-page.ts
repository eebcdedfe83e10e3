/** The e-mail addresses of a person. */

import type { FastifyInstance, FastifyReply } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import { newToken } from '#keys/tokens.ts';
import * as threepids from '#storage/threepids.ts';
import type { ServerContext } from '../context.ts';
import { addProved } from '../email/add-proved.ts';
import { requestEmailToken } from '../email/validation.ts';
import { fill } from '../languages/texts.ts';
import { hiddenField, inputField } from '../pages/fields.ts';
import { type Html, html } from '../pages/html.ts';
import { refusalText } from '../pages/refusal-text.ts';
import { formToken, sendAccountPage } from './account-page.ts';
import { EMAILS } from './paths.ts';
import { goBack, onGet, onPost, type Visit } from './visit.ts';

const ADD = `${EMAILS}/add`;
const CONFIRM = `${EMAILS}/confirm`;
const REMOVE = `${EMAILS}/remove`;

/** By an address an account can be taken over: adding one, and removing one, needs a fresh confirmation. */
export function emailsPages(pages: FastifyInstance, ctx: ServerContext): void {
  const sensitive = { from: EMAILS, isSensitive: true };
  onGet(pages, ctx, EMAILS, { isSensitive: true, act: (visit) => sendList(ctx, visit) });
  onPost(pages, ctx, ADD, { ...sensitive, act: (visit) => askForLetter(ctx, visit) });
  onPost(pages, ctx, CONFIRM, { from: EMAILS, act: (visit) => add(ctx, visit) });
  onPost(pages, ctx, REMOVE, {
    ...sensitive,
    act: async (visit) => {
      const address = visit.form.get('address') ?? '';
      await ctx.db.write('threepids.remove', (tx) =>
        threepids.remove(tx, visit.person.userId, { medium: 'email', address }),
      );
      return goBack(visit, EMAILS, 'email_removed');
    },
  });
}

async function askForLetter(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { request, form, speech } = visit;
  const secret = newToken('kcs');
  const email = form.get('email') ?? '';
  try {
    const { sid } = await requestEmailToken(
      ctx,
      { email, client_secret: secret, send_attempt: 1 },
      { purpose: 'add', from: request.ip, language: speech.language },
    );
    return sendWaiting(visit, { sid: String(sid), secret, email });
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    return await sendList(ctx, visit, refusalText(speech.texts, error));
  }
}

/** The letter was for whoever asked in this browser: only they know its secret. */
async function add(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { form, speech, person } = visit;
  const field = (name: string): string => form.get(name) ?? '';
  const [sid, secret, email] = [field('sid'), field('client_secret'), field('email')];
  try {
    await addProved(ctx, person.userId, { sid, client_secret: secret });
    return goBack(visit, EMAILS, 'email_added');
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    return sendWaiting(visit, { sid, secret, email }, refusalText(speech.texts, error));
  }
}

async function sendList(ctx: ServerContext, visit: Visit, problem?: string): Promise<FastifyReply> {
  const { person, speech } = visit;
  const { emails: words } = speech.texts;
  const known = (await threepids.ofUser(ctx.db, person.userId)).filter(({ medium }) => medium === 'email');
  const items = known.map(
    ({ address }) => html`<li>${address}
<form method="post" action="${REMOVE}">
${formToken(visit)}
${hiddenField('address', address)}
<button class="second">${fill(words.remove, { address })}</button>
</form></li>`,
  );
  const list = html`<p>${words.explains}</p><ul>${items}</ul>`;
  const body = html`${known.length === 0 ? html`<p>${words.none}</p>` : list}
${ctx.mailer === undefined ? html`<p>${words.off}</p>` : addForm(visit, problem)}`;
  return sendAccountPage(visit, { path: EMAILS, title: words.title, body, problem });
}

function addForm(visit: Visit, problem: string | undefined): Html {
  const { emails: words, fields } = visit.speech.texts;
  const email = { name: 'email', label: fields.email, type: 'email', autocomplete: 'email' } as const;
  return html`<form method="post" action="${ADD}">
${formToken(visit)}
${inputField({ ...email, value: visit.form.get('email') ?? '' }, problem)}
<button>${words.add}</button>
</form>`;
}

function sendWaiting(
  visit: Visit,
  { sid, secret, email }: { sid: string; secret: string; email: string },
  problem?: string,
): FastifyReply {
  const { emails: words, page } = visit.speech.texts;
  const body = html`<p>${fill(words.sent, { address: email })}</p>
<form method="post" action="${CONFIRM}">
${formToken(visit)}
${hiddenField('sid', sid)}
${hiddenField('client_secret', secret)}
${hiddenField('email', email)}
<button>${page.continue}</button>
</form>`;
  return sendAccountPage(visit, { path: EMAILS, title: words.title, body, problem });
}
