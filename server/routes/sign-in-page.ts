/** Where people sign in with a browser: https://spec.matrix.org/v1.19/client-server-api/#authentication-in-the-browser */

import type { FastifyInstance, FastifyReply } from 'fastify';
import { forbidden, MatrixError } from '#federation/errors.ts';
import * as users from '#storage/users.ts';
import { userByPassword } from '../auth/password-sign-in.ts';
import type { ServerContext } from '../context.ts';
import type { Texts } from '../languages/texts.ts';
import { acceptForms, FORM_LIMIT, formFields } from '../pages/forms.ts';
import { html, sendPage } from '../pages/html.ts';
import { refusalText } from '../pages/refusal-text.ts';
import { Challenges } from '../second-factor/challenges.ts';
import { nextStep } from '../second-factor/factors.ts';
import { requestOptions, userOfPasskey } from '../second-factor/passkeys.ts';
import {
  endSession,
  isFromOurPage,
  isTheirForm,
  type Person,
  personOf,
  startSession,
} from '../sign-in/browser-sessions.ts';
import { forgottenPasswordPages } from '../sign-in/forgotten-password.ts';
import { nextOf, REGISTRATION_PATH, SIGN_IN_PATH, SIGN_OUT_PATH } from '../sign-in/next.ts';
import { PendingSignIns } from '../sign-in/pending-sign-ins.ts';
import { type PageRequest, type SignInRequest, signInRequest } from '../sign-in/request.ts';
import { STEP_PATHS, secondStepPages } from '../sign-in/second-step.ts';
import { PASSKEY_PATH, type SignInForm, sendSignInForm } from '../sign-in/sign-in-form.ts';
import { senderOf, type Visitor, welcome } from '../sign-in/visitor.ts';
import { onlyProvider, providerPath, userNamed } from '../sign-in/ways.ts';

/** What a browser asks of the page, and the answer to it. */
interface Exchange {
  readonly request: PageRequest;
  readonly reply: FastifyReply;
}

/** `GET /sign-in` asks, `POST` signs in; by password, or by a passkey alone. */
export function signInPageRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const pending = new PendingSignIns(ctx.clock);
  const challenges = new Challenges(ctx.clock);
  app.register(async (pages) => {
    acceptForms(pages);
    secondStepPages(pages, ctx, { pending, challenges });
    forgottenPasswordPages(pages, ctx);

    pages.get(SIGN_IN_PATH, async (request: PageRequest, reply) => {
      const asked = signInRequest(ctx, request);
      const person = await personOf(ctx, request);
      if (asked.prompt === 'create') {
        return reply.redirect(`${REGISTRATION_PATH}?next=${encodeURIComponent(asked.next)}`, 303);
      }
      if (person !== undefined && asked.prompt === undefined) return reply.redirect(asked.next, 303);
      const only = onlyProvider(ctx);
      if (only !== undefined) {
        const isAgain = asked.prompt === 'login';
        return reply.redirect(providerPath(only, { next: asked.next, isAgain }), 303);
      }
      return ask(ctx, { request, reply }, { asked, person });
    });

    pages.post(SIGN_IN_PATH, { bodyLimit: FORM_LIMIT }, async (request: PageRequest, reply) => {
      const form = formFields(request.body);
      const asked = askedBy(ctx, request, form);
      const visitor = senderOf(ctx, request, form);
      const name = form.get('name')?.trim() ?? '';
      if (visitor === undefined) return refuse(ctx, { request, reply }, { asked, name, why: 'expired' });
      return await signInByPassword(ctx, { request, reply }, { asked, visitor, form, name, pending });
    });

    pages.post(`${PASSKEY_PATH}/options`, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const visitor = senderOf(ctx, request, formFields(request.body));
      if (visitor === undefined) throw new MatrixError(403, 'M_FORBIDDEN', 'Not from our page');
      ctx.limits.take('passkey', request.ip);
      const options = await requestOptions(ctx, undefined);
      if (options === undefined) throw new MatrixError(404, 'M_NOT_FOUND', 'No passkeys here');
      challenges.set(visitor.id, String(options.challenge));
      return reply.header('cache-control', 'no-store').send(options);
    });

    pages.post(PASSKEY_PATH, { bodyLimit: FORM_LIMIT }, async (request: PageRequest, reply) => {
      const form = formFields(request.body);
      const asked = askedBy(ctx, request, form);
      const visitor = senderOf(ctx, request, form);
      if (visitor === undefined) return refuse(ctx, { request, reply }, { asked, why: 'expired' });
      return await signInByPasskey(ctx, { request, reply }, { asked, visitor, form, challenges });
    });

    pages.post(SIGN_OUT_PATH, { bodyLimit: FORM_LIMIT }, async (request: PageRequest, reply) => {
      const { speech } = signInRequest(ctx, request);
      const { signedOut, isSignedOut, signIn } = speech.texts.signIn;
      const person = await personOf(ctx, request);
      const isTheirs = person === undefined || isTheirForm(person, formFields(request.body));
      if (!isTheirs || !isFromOurPage(ctx, request)) return reply.redirect('/account', 303);
      await endSession(ctx, request, reply);
      const body = html`<p>${isSignedOut}</p><p><a href="${SIGN_IN_PATH}">${signIn}</a></p>`;
      return sendPage(reply, { title: signedOut, body, speech });
    });
  });
}

async function signInByPassword(
  ctx: ServerContext,
  { request, reply }: Exchange,
  given: {
    readonly asked: SignInRequest;
    readonly visitor: Visitor;
    readonly form: URLSearchParams;
    readonly name: string;
    readonly pending: PendingSignIns;
  },
): Promise<FastifyReply> {
  const { asked, visitor, form, name, pending } = given;
  const password = form.get('password') ?? '';
  const found = await orProblem(asked.speech.texts, async () => {
    if (!ctx.config.passwordLogin) throw forbidden('Nobody signs in by password on this server');
    return userByPassword(ctx, await userNamed(ctx, name), { password, address: request.ip });
  });
  if ('problem' in found) return sendSignInForm(ctx, reply, { ...found, asked, visitor, name });
  const { user } = found;
  const step = await nextStep(ctx, user.userId);
  if (step === 'none') {
    await startSession(ctx, request, reply, { userId: user.userId });
    return reply.redirect(asked.next, 303);
  }
  const { userId, passwordHash } = user;
  pending.begin(visitor.id, { userId, passwordHash, step, next: asked.next });
  return reply.redirect(STEP_PATHS[step], 303);
}

async function signInByPasskey(
  ctx: ServerContext,
  { request, reply }: Exchange,
  given: {
    readonly asked: SignInRequest;
    readonly visitor: Visitor;
    readonly form: URLSearchParams;
    readonly challenges: Challenges;
  },
): Promise<FastifyReply> {
  const { asked, visitor, form, challenges } = given;
  const { texts } = asked.speech;
  const challenge = challenges.take(visitor.id);
  const found = await orProblem(texts, async () => {
    ctx.limits.take('login_address', request.ip);
    const credential = form.get('credential') ?? '';
    const userId = challenge && (await userOfPasskey(ctx, { credential, challenge, userId: undefined }));
    const user = userId ? await users.of(ctx.db, userId) : undefined;
    return user;
  });
  if ('problem' in found) return sendSignInForm(ctx, reply, { ...found, asked, visitor });
  await startSession(ctx, request, reply, { userId: found.user.userId, hasSecondFactor: true });
  return reply.redirect(asked.next, 303);
}

/** Who signs in, if they may; else what the page says, with its status. */
async function orProblem(
  texts: Texts,
  find: () => Promise<users.User | undefined>,
): Promise<{ readonly user: users.User } | { readonly problem: string; readonly status: number }> {
  const { signIn: words, factor } = texts;
  try {
    const user = await find();
    if (user === undefined) return { problem: factor.wrongPasskey, status: 403 };
    if (user.deactivatedTs !== undefined) return { problem: words.deactivated, status: 403 };
    if (user.lockedTs !== undefined) return { problem: words.locked, status: 403 };
    return { user };
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    const { status } = error;
    if (error.errcode === 'M_FORBIDDEN') return { problem: words.wrong, status };
    if (error.errcode === 'M_USER_DEACTIVATED') return { problem: words.deactivated, status };
    return { problem: refusalText(texts, error), status };
  }
}

/** Of a form: where it leads is in it, not in the address. */
function askedBy(ctx: ServerContext, request: PageRequest, form: URLSearchParams): SignInRequest {
  const next = nextOf(form.get('next'));
  const asked = signInRequest(ctx, request);
  return { ...asked, next, prompt: form.get('prompt') === 'login' ? 'login' : undefined };
}

function ask(
  ctx: ServerContext,
  { request, reply }: Exchange,
  { asked, person }: { asked: SignInRequest; person: Person | undefined },
): FastifyReply {
  const visitor = welcome(ctx, request, reply);
  return sendSignInForm(ctx, reply, { asked, visitor, ...(person !== undefined && { person }) });
}

/** The form was not one that we have shown to this browser of late, or the browser keeps no cookies. */
function refuse(
  ctx: ServerContext,
  { request, reply }: Exchange,
  { asked, name, why }: { asked: SignInRequest; name?: string; why: 'expired' },
): FastifyReply {
  const { page, signIn: words } = asked.speech.texts;
  const problem = request.headers.cookie === undefined ? words.needsCookies : page[why];
  const visitor = welcome(ctx, request, reply);
  const form: SignInForm = { asked, visitor, problem, status: 403 };
  return sendSignInForm(ctx, reply, name === undefined ? form : { ...form, name });
}
