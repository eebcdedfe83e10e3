/** A new password for those who forgot theirs: by a letter to an e-mail address of the account. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { MatrixError, threepidAuthFailed } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { newToken } from '#keys/tokens.ts';
import * as emailValidations from '#storage/email-validations.ts';
import * as threepids from '#storage/threepids.ts';
import { newPasswordProblem } from '../account/new-password.ts';
import { replacePassword } from '../auth/replace-password.ts';
import type { ServerContext } from '../context.ts';
import { proofOf } from '../email/proof.ts';
import { requestEmailToken } from '../email/validation.ts';
import { hiddenField, inputField, problemBox } from '../pages/fields.ts';
import { FORM_LIMIT, formFields } from '../pages/forms.ts';
import { type Html, html, sendPage } from '../pages/html.ts';
import { refusalText } from '../pages/refusal-text.ts';
import { nextOf, signInUrl } from './next.ts';
import { type PageRequest, type SignInRequest, signInRequest } from './request.ts';
import { FORGOTTEN_PATH } from './sign-in-form.ts';
import { senderOf, welcome } from './visitor.ts';

/** What the page shows next. */
type Next =
  | { readonly kind: 'address'; readonly problem?: string }
  | {
      readonly kind: 'letter' | 'password';
      readonly sid: string;
      readonly secret: string;
      readonly problem?: string;
    }
  | { readonly kind: 'done' };

/** Asks for the address, waits until the letter's link was confirmed, and then takes the new password. */
export function forgottenPasswordPages(pages: FastifyInstance, ctx: ServerContext): void {
  if (ctx.mailer === undefined) return;

  pages.get(FORGOTTEN_PATH, async (request: PageRequest, reply) =>
    send(ctx, { request, reply }, { asked: signInRequest(ctx, request), next: { kind: 'address' } }),
  );

  pages.post(FORGOTTEN_PATH, { bodyLimit: FORM_LIMIT }, async (request: PageRequest, reply) => {
    const form = formFields(request.body);
    const asked = { ...signInRequest(ctx, request), next: nextOf(form.get('next')) };
    const { texts } = asked.speech;
    if (senderOf(ctx, request, form) === undefined) {
      const next = { kind: 'address', problem: texts.page.expired } as const;
      return send(ctx, { request, reply }, { asked, next, status: 403 });
    }
    const next = await goOn(ctx, form, { asked, from: request.ip });
    const status = 'problem' in next && next.problem !== undefined ? 400 : 200;
    return send(ctx, { request, reply }, { asked, next, status });
  });
}

async function goOn(
  ctx: ServerContext,
  form: URLSearchParams,
  { asked, from }: { asked: SignInRequest; from: string },
): Promise<Next> {
  const { speech } = asked;
  const [sid, secret] = [form.get('sid') ?? '', form.get('client_secret') ?? ''];
  try {
    if (sid === '') return await askForLetter(ctx, form.get('email') ?? '', { asked, from });
    ctx.limits.take('email_confirm', from);
    const credentials = { sid, client_secret: secret };
    const proof = await proofOf(ctx, ctx.db, { credentials, purpose: 'password' });
    if (proof === undefined) {
      return { kind: 'letter', sid, secret, problem: speech.texts.stages.notConfirmed };
    }
    const password = form.get('password');
    if (password === null) return { kind: 'password', sid, secret };
    const wanted = { password, repeated: form.get('repeated') ?? '' };
    const problem = newPasswordProblem(wanted, speech.texts, ctx.config);
    if (problem !== undefined) return { kind: 'password', sid, secret, problem };
    const userId = await ownerByProof(ctx, credentials);
    await replacePassword(ctx, userId, { password, logoutDevices: true });
    return { kind: 'done' };
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    return { kind: 'address', problem: refusalText(speech.texts, error) };
  }
}

/** The same answer whether an account has the address or not: the letter tells. */
async function askForLetter(
  ctx: ServerContext,
  email: string,
  { asked, from }: { asked: SignInRequest; from: string },
): Promise<Next> {
  const secret = newToken('kcs');
  const body = { email, client_secret: secret, send_attempt: 1 };
  const { language } = asked.speech;
  const { sid } = await requestEmailToken(ctx, body, { purpose: 'password', from, language });
  return { kind: 'letter', sid: String(sid), secret };
}

/** Whose password it is; the proof is used up. */
async function ownerByProof(
  ctx: ServerContext,
  credentials: { sid: string; client_secret: string },
): Promise<UserId> {
  return await ctx.db.write('emailValidations.use', async (tx) => {
    const proof = await proofOf(ctx, tx, { credentials, purpose: 'password' });
    const owner = proof && (await threepids.ownerOf(tx, 'email', proof.address));
    if (proof === undefined || owner === undefined) throw threepidAuthFailed();
    if (!(await emailValidations.remove(tx, proof.sid))) throw threepidAuthFailed();
    return owner;
  });
}

function send(
  ctx: ServerContext,
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  { asked, next, status = 200 }: { asked: SignInRequest; next: Next; status?: number },
): FastifyReply {
  const { speech } = asked;
  const { forgotten, signIn } = speech.texts;
  if (next.kind === 'done') {
    const body = html`<p>${forgotten.isDone}</p>
<p><a class="button" href="${signInUrl(asked.next)}">${signIn.signIn}</a></p>`;
    return sendPage(reply, { title: forgotten.done, body, speech });
  }
  const { formToken } = welcome(ctx, request, reply);
  const body = html`${problemBox(speech.texts, next.problem)}
<form method="post" action="${FORGOTTEN_PATH}">
${hiddenField('form_token', formToken)}
${hiddenField('next', asked.next)}
${fieldsOf(asked, next)}
</form>`;
  const address = `${FORGOTTEN_PATH}?next=${encodeURIComponent(asked.next)}`;
  return sendPage(reply, { title: forgotten.title, body, speech, address, status });
}

function fieldsOf({ speech }: SignInRequest, next: Exclude<Next, { kind: 'done' }>): Html {
  const { fields, forgotten, page } = speech.texts;
  if (next.kind === 'address') {
    const email = { name: 'email', label: fields.email, type: 'email', autocomplete: 'email' } as const;
    return html`<p>${forgotten.explains}</p>
${inputField({ ...email, isFirst: true }, next.problem)}
<button>${forgotten.send}</button>`;
  }
  const proof = html`${hiddenField('sid', next.sid)}${hiddenField('client_secret', next.secret)}`;
  if (next.kind === 'letter') {
    return html`<p>${forgotten.sent}</p>${proof}<button>${page.continue}</button>`;
  }
  const password = { type: 'password', autocomplete: 'new-password' } as const;
  return html`${proof}
${inputField({ ...password, name: 'password', label: forgotten.newPassword, isFirst: true }, next.problem)}
${inputField({ ...password, name: 'repeated', label: forgotten.newPasswordAgain }, next.problem)}
<button>${forgotten.set}</button>`;
}
