/** https://spec.matrix.org/v1.19/client-server-api/#fallback */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import type { JsonObject } from '#keys/json.ts';
import { newToken } from '#keys/tokens.ts';
import { type Challenge, type Stage, stages } from '../auth/interactive-auth.ts';
import type { ServerContext } from '../context.ts';
import { requestEmailToken } from '../email/validation.ts';
import { acceptForms, FORM_LIMIT, formFields } from '../forms.ts';
import { type Html, html, sendPage } from '../html.ts';
import { type Query, queryString } from '../query.ts';
import { termsList } from '../terms-page.ts';

const PATH = '/_matrix/client/v3/auth/:stage/fallback/web';
/** "This page must use the following JavaScript when the authentication has been completed" */
const DONE_SCRIPT = `
if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}
`;

interface FallbackRoute {
  Params: { stage: string };
  Querystring: Query;
}

/** A stage that is to be done on a page. */
interface Open {
  readonly session: string;
  readonly stage: Stage;
  readonly challenge: Challenge;
}

/** What the page shows next: that it is done, or a form. */
type Next = { readonly kind: 'done' } | { readonly kind: 'form'; readonly fields: Html };

/** Each stage as a page, for clients that do not know it. Works without JavaScript, but for telling the client. */
export function authFallbackPageRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (pages) => {
    acceptForms(pages);

    pages.get<FallbackRoute>(PATH, async (request, reply) => {
      const open = openStage(ctx, request);
      if (open === undefined) return sendUnknown(reply);
      return sendForm(ctx, reply, { fields: fieldsFor(ctx, open.stage) });
    });

    pages.post<FallbackRoute>(PATH, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const open = openStage(ctx, request);
      if (open === undefined) return sendUnknown(reply);
      const form = formFields(request.body);
      try {
        const next = await goOn(ctx, open, { form, from: request.ip });
        if (next.kind === 'done') return sendDone(reply);
        return sendForm(ctx, reply, { fields: next.fields });
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        return sendForm(ctx, reply, { fields: fieldsFor(ctx, open.stage, form), problem: error });
      }
    });
  });
}

function openStage(ctx: ServerContext, request: FastifyRequest<FallbackRoute>): Open | undefined {
  const session = queryString(request.query, 'session') ?? '';
  const stage = stages.find((known) => known === request.params.stage);
  const challenge = ctx.interactiveAuth.challengeOf(session);
  if (stage === undefined || challenge === undefined) return undefined;
  return challenge.flows.some((flow) => flow.includes(stage)) ? { session, stage, challenge } : undefined;
}

/** Does what the form says; throws the refusal. */
async function goOn(
  ctx: ServerContext,
  { session, stage, challenge }: Open,
  { form, from }: { form: URLSearchParams; from: string },
): Promise<Next> {
  const isNewLetter = stage === 'm.login.email.identity' && form.has('email');
  if (isNewLetter && challenge.email !== undefined) {
    const secret = newToken('kcs');
    const body = { email: form.get('email') ?? '', client_secret: secret, send_attempt: 1 };
    const { sid } = await requestEmailToken(ctx, body, { purpose: challenge.email, from });
    return { kind: 'form', fields: letterFields(String(sid), secret) };
  }
  if (stage === 'm.login.terms' && form.get('accepts') !== 'yes') {
    throw new MatrixError(401, 'M_FORBIDDEN', 'Accept the policies to go on');
  }
  const refusal = await ctx.interactiveAuth.attemptStage(session, stage, authOf(stage, form));
  if (refusal !== undefined) throw refusal;
  return { kind: 'done' };
}

/** What a client would say for the stage. */
function authOf(stage: Stage, form: URLSearchParams): JsonObject {
  const field = (name: string) => form.get(name) ?? '';
  switch (stage) {
    case 'm.login.password':
      return { identifier: { type: 'm.id.user', user: field('user').trim() }, password: field('password') };
    case 'm.login.registration_token':
      return { token: field('token').trim() };
    case 'm.login.email.identity':
      return { threepid_creds: { sid: field('sid'), client_secret: field('client_secret') } };
    case 'm.login.dummy':
    case 'm.login.terms':
      return {};
  }
}

/** The form of a stage; `form` is what was sent and was not right. */
function fieldsFor(ctx: ServerContext, stage: Stage, form = new URLSearchParams()): Html {
  switch (stage) {
    case 'm.login.password':
      return html`
<label>User name <input name="user" value="${form.get('user') ?? ''}" required autocomplete="username"></label>
<label>Password <input name="password" type="password" required autocomplete="current-password"></label>
<button>Confirm</button>`;
    case 'm.login.registration_token':
      return html`
<label>Registration token <input name="token" required autofocus autocomplete="off"></label>
<button>Continue</button>`;
    case 'm.login.terms':
      return html`${termsList(ctx.config.terms)}<button>Continue</button>`;
    case 'm.login.dummy':
      return html`<button>Continue</button>`;
    case 'm.login.email.identity': {
      const [sid, secret] = [form.get('sid'), form.get('client_secret')];
      if (sid !== null && secret !== null) return letterFields(sid, secret);
      return html`
<label>E-mail address <input name="email" type="email" required autofocus autocomplete="email"></label>
<button>Send the letter</button>`;
    }
  }
}

function letterFields(sid: string, secret: string): Html {
  return html`
<p>A letter is on its way. Open the link in it, confirm there, and then go on here.</p>
<input type="hidden" name="sid" value="${sid}">
<input type="hidden" name="client_secret" value="${secret}">
<button>Continue</button>`;
}

/** The form leads to the address of the page, which has the session. */
function sendForm(
  { serverName }: ServerContext,
  reply: FastifyReply,
  { fields, problem }: { fields: Html; problem?: MatrixError },
): FastifyReply {
  const said = problem === undefined ? html`` : html`<p class="problem">${wordsOf(problem)}</p>`;
  const body = html`${said}<form method="post">${fields}</form>`;
  return sendPage(reply, {
    title: `Confirm for ${serverName}`,
    body,
    ...(problem !== undefined && { status: problem.status }),
  });
}

function wordsOf({ errcode, message, extras }: MatrixError): string {
  if (errcode !== 'M_LIMIT_EXCEEDED') return `${message}.`;
  const seconds = Math.ceil(Number(extras.retry_after_ms ?? 0) / 1_000);
  return `Too many attempts: wait ${seconds} seconds.`;
}

function sendDone(reply: FastifyReply): FastifyReply {
  const body = html`<p>Done. Go on in your Matrix client: this page can be closed.</p>`;
  return sendPage(reply, { title: 'Confirmed', body, script: DONE_SCRIPT });
}

function sendUnknown(reply: FastifyReply): FastifyReply {
  const body = html`<p class="problem">This page belongs to nothing that is under way: it may have taken too long. Begin
again in your Matrix client.</p>`;
  return sendPage(reply, { title: 'Nothing to confirm', body, status: 404 });
}
