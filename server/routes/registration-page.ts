import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import { createAccount, faultOfPassword } from '../auth/accounts.ts';
import { weaknessOfPassword } from '../auth/password-policy.ts';
import { acceptTerms, emailOfRegistration, isValidToken } from '../auth/registration-challenge.ts';
import type { ServerContext } from '../context.ts';
import { acceptForms, FORM_LIMIT, formFields } from '../forms.ts';
import { type Html, html, sendPage } from '../html.ts';
import type { LimitKind } from '../limits.ts';
import { termsList } from '../terms-page.ts';

const PATH = '/_kurir/register';
const TOO_MANY = 'Too many attempts: wait a minute, then load the page again.';

interface Form {
  readonly token: string;
  readonly username: string;
  readonly password: string;
  readonly repeated: string;
  readonly accepts: boolean;
}

/** The page behind a registration link: choose a name and a password. Works without JavaScript. */
export function registrationPageRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (pages) => {
    acceptForms(pages);

    pages.get<{ Querystring: { token?: unknown } }>(PATH, async (request, reply) => {
      const { token = '' } = request.query;
      const problem = await problemOfToken(ctx, request, String(token));
      if (problem !== undefined) return sendProblem(reply, problem);
      return sendForm(ctx, reply, { token: String(token), username: '' });
    });

    pages.post(PATH, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const form = formOf(request.body);
      const refusal = await problemOfToken(ctx, request, form.token);
      if (refusal !== undefined) return sendProblem(reply, refusal);
      const problem = await register(ctx, form, request.ip);
      if (problem !== undefined) return sendForm(ctx, reply, { ...form, problem });
      return sendWelcome(ctx, reply, { username: form.username, request });
    });
  });
}

function formOf(body: unknown): Form {
  const fields = formFields(body);
  const field = (name: string) => fields.get(name) ?? '';
  const username = field('username')
    .trim()
    .replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
  const [token, password, repeated] = [field('token'), field('password'), field('repeated')];
  return { token, username, password, repeated, accepts: field('accepts') === 'yes' };
}

/** Why nobody can register with this token, or nothing. */
async function problemOfToken(
  ctx: ServerContext,
  request: FastifyRequest,
  token: string,
): Promise<string | undefined> {
  const { registration } = ctx.config;
  if (registration === 'closed') return 'Registration is closed on this server.';
  if (emailOfRegistration(ctx) === 'required') {
    return `Accounts need a confirmed e-mail address here: register in a Matrix client, with the token ${token}`;
  }
  if (registration === 'open') return undefined;
  if (isLimited(ctx, 'registration_check', request.ip)) return TOO_MANY;
  if (await isValidToken(ctx, token)) return undefined;
  return (
    'This link is not valid: it was used already, or is too old. The administrator of this server can make ' +
    'accounts with the command: npm run kurir -- user add NAME'
  );
}

function isLimited(ctx: ServerContext, kind: LimitKind, address: string): boolean {
  try {
    ctx.limits.take(kind, address);
    return false;
  } catch (error) {
    if (error instanceof MatrixError) return true;
    throw error;
  }
}

/** Makes the account, or says what the person is to change. */
async function register(ctx: ServerContext, form: Form, address: string): Promise<string | undefined> {
  const fault = faultOfPassword(form.password) ?? weaknessOfPassword(form.password, ctx.config);
  if (fault !== undefined) return `${fault}.`;
  if (form.password !== form.repeated) return 'The two passwords differ.';
  if (!form.accepts && ctx.config.terms.length > 0) return 'Accept the policies to have an account.';
  if (isLimited(ctx, 'registration', address)) return TOO_MANY;
  const made = await createAccount(ctx, {
    localpart: form.username,
    password: form.password,
    ...(ctx.config.registration === 'token' && { registrationToken: form.token }),
    alsoWrite: (tx, userId, now) => acceptTerms(ctx, tx, { userId, now }),
  });
  switch (made.kind) {
    case 'created':
      return undefined;
    case 'invalid_name':
      return 'A user name consists of lower-case letters a-z, digits and the characters . _ = - / +';
    case 'name_taken':
      return `The name ${form.username} is taken.`;
    case 'bad_token':
      return 'This link was used meanwhile.';
  }
}

function sendForm(
  ctx: ServerContext,
  reply: FastifyReply,
  { token, username, problem }: { token: string; username: string; problem?: string },
): FastifyReply {
  const said: Html = problem === undefined ? html`` : html`<p class="problem">${problem}</p>`;
  const body = html`
${said}
<form method="post" action="${PATH}">
<input type="hidden" name="token" value="${token}">
<label>User name (becomes @name:${ctx.serverName})
<input name="username" value="${username}" required autofocus autocapitalize="none" autocomplete="username"></label>
<label>Password <input name="password" type="password" required autocomplete="new-password"></label>
<label>Password again <input name="repeated" type="password" required autocomplete="new-password"></label>
${termsList(ctx.config.terms)}
<button>Create account</button>
</form>
`;
  return sendPage(reply, {
    title: `New account on ${ctx.serverName}`,
    body,
    status: problem === undefined ? 200 : 400,
  });
}

function sendWelcome(
  ctx: ServerContext,
  reply: FastifyReply,
  { username, request }: { username: string; request: FastifyRequest },
): FastifyReply {
  const base = ctx.config.publicBaseurl ?? `${request.protocol}://${request.host}`;
  const body = html`
<p>Your account is <code>@${username}:${ctx.serverName}</code>.</p>
<p>Now open a Matrix client, such as Element (<code>https://app.element.io</code>, or Element Desktop), choose
another homeserver than the one it proposes, enter <code>${base}</code>, and sign in with your user name and
password.</p>
`;
  return sendPage(reply, { title: 'Welcome', body });
}

function sendProblem(reply: FastifyReply, problem: string): FastifyReply {
  const body = html`<p class="problem">${problem}</p>`;
  return sendPage(reply, { title: 'No new account', body, status: 403 });
}
