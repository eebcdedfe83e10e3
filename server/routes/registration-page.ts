import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { UserId } from '#keys/ids.ts';
import { newPasswordProblem } from '../account/new-password.ts';
import { createAccount } from '../auth/accounts.ts';
import { acceptTerms, emailOfRegistration, isValidToken } from '../auth/registration-challenge.ts';
import { termsList } from '../consent/terms-list.ts';
import type { ServerContext } from '../context.ts';
import { type Speech, speechFor } from '../languages/choose.ts';
import { fill, type Texts } from '../languages/texts.ts';
import { hiddenField, inputField, problemBox } from '../pages/fields.ts';
import { acceptForms, FORM_LIMIT, formFields } from '../pages/forms.ts';
import { html, phrase, sendPage } from '../pages/html.ts';
import { type Query, queryString } from '../query.ts';
import { isFromOurPage, startSession } from '../sign-in/browser-sessions.ts';
import { nextOf, REGISTRATION_PATH } from '../sign-in/next.ts';

interface Form {
  readonly token: string;
  readonly username: string;
  readonly password: string;
  readonly repeated: string;
  readonly accepts: boolean;
  /** Where the person goes on, as a client that sent them here waits for them there. */
  readonly next: string;
}

/** The page behind a registration link: choose a name and a password. Works without JavaScript. */
export function registrationPageRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (pages) => {
    acceptForms(pages);

    pages.get<{ Querystring: Query }>(REGISTRATION_PATH, async (request, reply) => {
      const speech = speechFor(ctx, request);
      const [token, next] = ['token', 'next'].map((key) => queryString(request.query, key) ?? '');
      const form = { ...EMPTY, token: token ?? '', next: next ?? '' };
      const problem = await problemOfToken(ctx, request, { token: form.token, texts: speech.texts });
      if (problem !== undefined && !mayComeLater(ctx, form)) return sendProblem(reply, { problem, speech });
      return sendForm(ctx, reply, { form, speech });
    });

    pages.post(REGISTRATION_PATH, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const speech = speechFor(ctx, request);
      const { texts } = speech;
      const form = formOf(request.body);
      if (!isFromOurPage(ctx, request))
        return sendForm(ctx, reply, { form, speech, problem: texts.page.expired });
      const refusal = await problemOfToken(ctx, request, { token: form.token, texts });
      if (refusal !== undefined && mayComeLater(ctx, form)) {
        return sendForm(ctx, reply, { form, speech, problem: texts.stages.wrongToken });
      }
      if (refusal !== undefined) return sendProblem(reply, { problem: refusal, speech });
      const made = await register(ctx, form, { address: request.ip, texts });
      if ('problem' in made) return sendForm(ctx, reply, { form, speech, problem: made.problem });
      if (form.next === '') return sendWelcome(ctx, reply, { userId: made.userId, request, speech });
      if (ctx.config.secondFactor === 'required') return reply.redirect(nextOf(form.next), 303);
      await startSession(ctx, request, reply, { userId: made.userId });
      return reply.redirect(nextOf(form.next), 303);
    });
  });
}

const EMPTY: Form = { token: '', username: '', password: '', repeated: '', accepts: false, next: '' };

function formOf(body: unknown): Form {
  const fields = formFields(body);
  const field = (name: string) => fields.get(name) ?? '';
  const username = field('username')
    .trim()
    .replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
  const [password, repeated] = [field('password'), field('repeated')];
  const [token, next] = [field('token').trim(), field('next')];
  return { token, username, password, repeated, accepts: field('accepts') === 'yes', next };
}

/** Those who come from a client, not by a link, write the token on the page. */
function mayComeLater({ config, mailer }: ServerContext, { next }: Form): boolean {
  return (
    next !== '' && config.registration === 'token' && emailOfRegistration({ config, mailer }) !== 'required'
  );
}

/** Why nobody can register with this token, or nothing. */
async function problemOfToken(
  ctx: ServerContext,
  request: FastifyRequest,
  { token, texts }: { token: string; texts: Texts },
): Promise<string | undefined> {
  const words = texts.registration;
  const { registration } = ctx.config;
  if (registration === 'closed') return words.closed;
  if (emailOfRegistration(ctx) === 'required') return fill(words.needsEmail, { token });
  if (registration === 'open') return undefined;
  if (!ctx.limits.tryTake('registration_check', request.ip)) return words.tooMany;
  if (await isValidToken(ctx, token)) return undefined;
  return words.badLink;
}

/** Makes the account, or says what the person is to change. */
async function register(
  ctx: ServerContext,
  form: Form,
  { address, texts }: { address: string; texts: Texts },
): Promise<{ readonly userId: UserId } | { readonly problem: string }> {
  const { registration: words } = texts;
  const fault = newPasswordProblem(form, texts, ctx.config);
  if (fault !== undefined) return { problem: fault };
  if (!form.accepts && ctx.config.terms.length > 0) return { problem: words.mustAccept };
  if (!ctx.limits.tryTake('registration', address)) return { problem: words.tooMany };
  const made = await createAccount(ctx, {
    localpart: form.username,
    password: form.password,
    ...(ctx.config.registration === 'token' && { registrationToken: form.token }),
    alsoWrite: (tx, userId, now) => acceptTerms(ctx, tx, { userId, now }),
  });
  switch (made.kind) {
    case 'created':
      return made;
    case 'invalid_name':
      return { problem: words.badName };
    case 'name_taken':
      return { problem: fill(words.taken, { name: form.username }) };
    case 'bad_token':
      return { problem: words.usedLink };
  }
}

function sendForm(
  { config, serverName }: ServerContext,
  reply: FastifyReply,
  { form, speech, problem }: { form: Form; speech: Speech; problem?: string },
): FastifyReply {
  const { texts } = speech;
  const { fields, registration: words } = texts;
  const token = { name: 'token', label: fields.registrationToken, value: form.token, autocomplete: 'off' };
  const isAsked = form.next !== '' && config.registration === 'token';
  const username = {
    ...{ name: 'username', label: fill(words.userName, { serverName }), value: form.username },
    ...{ autocomplete: 'username', isFirst: true },
  };
  const password = { type: 'password', autocomplete: 'new-password' } as const;
  const body = html`
${problemBox(texts, problem)}
<form method="post" action="${REGISTRATION_PATH}">
${hiddenField('next', form.next)}
${isAsked ? inputField(token, problem) : hiddenField('token', form.token)}
${inputField(username, problem)}
${inputField({ ...password, name: 'password', label: fields.password }, problem)}
${inputField({ ...password, name: 'repeated', label: fields.passwordAgain }, problem)}
${termsList(config.terms, texts)}
<button>${words.create}</button>
</form>
`;
  return sendPage(reply, {
    title: fill(words.title, { serverName }),
    body,
    speech,
    status: problem === undefined ? 200 : 400,
  });
}

function sendWelcome(
  ctx: ServerContext,
  reply: FastifyReply,
  { userId, request, speech }: { userId: UserId; request: FastifyRequest; speech: Speech },
): FastifyReply {
  const { registration: words } = speech.texts;
  const base = ctx.config.publicBaseurl ?? `${request.protocol}://${request.host}`;
  const address = html`<code>https://app.element.io</code>`;
  const body = html`
<p>${phrase(words.account, { userId: html`<code>${userId}</code>` })}</p>
<p>${phrase(words.next, { address, server: html`<code>${base}</code>` })}</p>
`;
  return sendPage(reply, { title: words.welcome, body, speech });
}

function sendProblem(
  reply: FastifyReply,
  { problem, speech }: { problem: string; speech: Speech },
): FastifyReply {
  const body = html`<p class="problem">${problem}</p>`;
  return sendPage(reply, { title: speech.texts.registration.none, body, speech, status: 403 });
}
