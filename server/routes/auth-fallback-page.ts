/** https://spec.matrix.org/v1.19/client-server-api/#fallback */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import { type JsonObject, objectAt, stringAt } from '#keys/json.ts';
import { newToken } from '#keys/tokens.ts';
import { type Challenge, type Stage, stages } from '../auth/interactive-auth.ts';
import { termsList } from '../consent/terms-list.ts';
import type { ServerContext } from '../context.ts';
import { requestEmailToken } from '../email/validation.ts';
import { type Speech, speechFor } from '../languages/choose.ts';
import { fill, type Texts } from '../languages/texts.ts';
import { hiddenField, inputField, problemBox } from '../pages/fields.ts';
import { acceptForms, FORM_LIMIT, formFields } from '../pages/forms.ts';
import { type Html, html, sendPage } from '../pages/html.ts';
import { refusalText } from '../pages/refusal-text.ts';
import { confirmedBy, providersOf, sendOwnSignIn, sendProviders } from '../providers/sso-stage.ts';
import { type Query, queryString } from '../query.ts';
import { isFromOurPage } from '../sign-in/browser-sessions.ts';

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
      const speech = speechFor(ctx, request);
      const open = openStage(ctx, request);
      if (open === undefined) return sendUnknown(reply, speech);
      if (open.stage === 'm.login.sso') return await sendSso(ctx, { request, reply }, open);
      return sendForm(ctx, reply, { speech, fields: fieldsFor(ctx, open, { speech }) });
    });

    pages.post<FallbackRoute>(PATH, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const speech = speechFor(ctx, request);
      const open = openStage(ctx, request);
      if (open === undefined) return sendUnknown(reply, speech);
      const form = formFields(request.body);
      if (open.stage === 'm.login.sso') return confirmSso(ctx, { request, reply }, open);
      try {
        const next = await goOn(ctx, open, { form, from: request.ip, speech });
        if (next.kind === 'done') return sendDone(reply, speech);
        return sendForm(ctx, reply, { speech, fields: next.fields });
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        const problem = problemOf(speech.texts, open.stage, error);
        const fields = fieldsFor(ctx, open, { speech, form, problem });
        return sendForm(ctx, reply, { speech, fields, problem, status: error.status });
      }
    });
  });
}

/** Leads to the provider of the user whom the session belongs to, or to the sign-in page of this server. */
async function sendSso(
  ctx: ServerContext,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  { session, challenge: { userId } }: Open,
): Promise<FastifyReply> {
  if (userId === undefined) return sendUnknown(reply, speechFor(ctx, request));
  const providers = await providersOf(ctx, userId);
  return providers.length === 0
    ? await sendOwnSignIn(ctx, { request, reply }, { session, userId })
    : sendProviders(ctx, reply, { session, providers });
}

/** The person has come back from the provider, and has been told what it is that they confirm. */
function confirmSso(
  ctx: ServerContext,
  exchange: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  { session }: Open,
): FastifyReply {
  const { request, reply } = exchange;
  const speech = speechFor(ctx, request);
  const userId = isFromOurPage(ctx, request) ? confirmedBy(ctx, exchange, session) : undefined;
  const isDone = userId !== undefined && ctx.interactiveAuth.complete(session, 'm.login.sso', userId);
  return isDone ? sendDone(reply, speech) : sendUnknown(reply, speech);
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
  { form, from, speech }: { form: URLSearchParams; from: string; speech: Speech },
): Promise<Next> {
  const isNewLetter = stage === 'm.login.email.identity' && form.has('email');
  if (isNewLetter && challenge.email !== undefined) {
    const secret = newToken('kcs');
    const body = { email: form.get('email') ?? '', client_secret: secret, send_attempt: 1 };
    const { sid } = await requestEmailToken(ctx, body, {
      ...{ purpose: challenge.email, from, language: speech.language },
    });
    return { kind: 'form', fields: letterFields(speech.texts, String(sid), secret) };
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
    case 'm.login.sso':
    case 'm.login.terms':
    case 'm.oauth':
    case 'org.matrix.cross_signing_reset':
      return {};
  }
}

/** The form of a stage; `form` is what was sent and was not right. */
function fieldsFor(
  ctx: ServerContext,
  { stage, challenge }: Open,
  { speech, form, problem }: { speech: Speech; form?: URLSearchParams; problem?: string },
): Html {
  const { texts } = speech;
  const { fields, page, stages: words } = texts;
  switch (stage) {
    case 'm.login.password': {
      const user = { name: 'user', label: fields.userName, autocomplete: 'username' };
      const password = { name: 'password', label: fields.password, autocomplete: 'current-password' };
      return html`
${inputField({ ...user, value: form?.get('user') ?? '', isFirst: true }, problem)}
${inputField({ ...password, type: 'password' }, problem)}
<button>${page.confirm}</button>`;
    }
    case 'm.login.registration_token':
      return html`
${inputField({ name: 'token', label: fields.registrationToken, autocomplete: 'off', isFirst: true }, problem)}
<button>${page.continue}</button>`;
    case 'm.login.terms':
    case 'm.login.sso':
      return html`${termsList(ctx.config.terms, texts)}<button>${page.continue}</button>`;
    case 'm.oauth':
    case 'org.matrix.cross_signing_reset': {
      const url = stringAt(objectAt(challenge.params ?? {}, stage) ?? {}, 'url') ?? '/account';
      return html`<p><a href="${url}">${texts.account.crossSigning}</a></p><button>${page.continue}</button>`;
    }
    case 'm.login.dummy':
      return html`<button>${page.continue}</button>`;
    case 'm.login.email.identity': {
      const [sid, secret] = [form?.get('sid'), form?.get('client_secret')];
      if (typeof sid === 'string' && typeof secret === 'string') return letterFields(texts, sid, secret);
      const email = { name: 'email', label: fields.email, autocomplete: 'email', isFirst: true };
      return html`
${inputField({ ...email, type: 'email', value: form?.get('email') ?? '' }, problem)}
<button>${words.send}</button>`;
    }
  }
}

function letterFields({ stages: words, page }: Texts, sid: string, secret: string): Html {
  return html`
<p>${words.sent}</p>
${hiddenField('sid', sid)}
${hiddenField('client_secret', secret)}
<button>${page.continue}</button>`;
}

/** The form leads to the address of the page, which has the session. */
function sendForm(
  { serverName }: ServerContext,
  reply: FastifyReply,
  {
    speech,
    fields,
    problem,
    status = 200,
  }: { speech: Speech; fields: Html; problem?: string; status?: number },
): FastifyReply {
  const { texts } = speech;
  const body = html`${problemBox(texts, problem)}<form method="post">${fields}</form>`;
  return sendPage(reply, { title: fill(texts.stages.title, { serverName }), body, speech, status });
}

/** What was wrong with a stage, in the words of the page. */
function problemOf(texts: Texts, stage: Stage, refusal: MatrixError): string {
  const { stages: words } = texts;
  if (refusal.errcode === 'M_FORBIDDEN' || refusal.errcode === 'M_UNAUTHORIZED') {
    if (stage === 'm.login.password') return words.wrongPassword;
    if (stage === 'm.login.registration_token') return words.wrongToken;
    if (stage === 'm.login.terms') return words.mustAccept;
  }
  return refusalText(texts, refusal);
}

function sendDone(reply: FastifyReply, speech: Speech): FastifyReply {
  const { done, isDone } = speech.texts.stages;
  return sendPage(reply, { title: done, body: html`<p>${isDone}</p>`, speech, script: DONE_SCRIPT });
}

function sendUnknown(reply: FastifyReply, speech: Speech): FastifyReply {
  const { nothing, unknown } = speech.texts.stages;
  return sendPage(reply, {
    title: nothing,
    body: html`<p class="problem">${unknown}</p>`,
    speech,
    status: 404,
  });
}
