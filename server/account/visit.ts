/** A visit of somebody to the pages of their account: who they are, how they are spoken to, and what they may do now. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import * as userLanguages from '#storage/user-languages.ts';
import type { ServerContext } from '../context.ts';
import { languageOf, type Speech, speechFor } from '../languages/choose.ts';
import { FORM_LIMIT, formFields } from '../pages/forms.ts';
import type { Query } from '../query.ts';
import { isFromOurPage, isTheirForm, type Person, personOf } from '../sign-in/browser-sessions.ts';
import { signInUrl } from '../sign-in/next.ts';
import { sendAccountPage } from './account-page.ts';

export type PageRequest = FastifyRequest<{ Querystring: Query }>;

export interface Visit {
  readonly request: PageRequest;
  readonly reply: FastifyReply;
  readonly person: Person;
  readonly speech: Speech;
  /** Empty where the page is only looked at. */
  readonly form: URLSearchParams;
}

export type Act = (visit: Visit) => Promise<FastifyReply>;

/** What is asked for before something that cannot be undone: that the person has shown of late who they are. */
const RECENT_MS = 5 * 60_000;

/** A page that only the person sees; with `isSensitive` only after they have shown of late who they are. */
export function onGet(
  pages: FastifyInstance,
  ctx: ServerContext,
  path: string,
  { act, isSensitive = false }: { readonly act: Act; readonly isSensitive?: boolean },
): void {
  pages.get(path, async (request: PageRequest, reply) => {
    const visit = await visitOf(ctx, request, reply);
    if (visit === undefined) return reply.redirect(signInUrl(request.url), 303);
    if (isSensitive && !isRecent(ctx, visit.person)) return askAgain(reply, request.url);
    return await act(visit);
  });
}

/** A form of a page, which leads back to the page `from` where it is not in order. */
export function onPost(
  pages: FastifyInstance,
  ctx: ServerContext,
  path: string,
  {
    act,
    from,
    isSensitive = false,
  }: { readonly act: Act; readonly from: string; readonly isSensitive?: boolean },
): void {
  pages.post(path, { bodyLimit: FORM_LIMIT }, async (request: PageRequest, reply) => {
    const visit = await visitOf(ctx, request, reply);
    if (visit === undefined) return reply.redirect(signInUrl(from), 303);
    if (!isTheirForm(visit.person, visit.form) || !isFromOurPage(ctx, request)) {
      return sendAccountPage(visit, { path: from, problem: visit.speech.texts.page.expired, status: 403 });
    }
    if (isSensitive && !isRecent(ctx, visit.person)) return askAgain(reply, from);
    return await act(visit);
  });
}

/** Sends the person back to a page, which then says that it is done. */
export function goBack({ reply }: Visit, path: string, done: string): FastifyReply {
  const mark = path.includes('?') ? '&' : '?';
  return reply.redirect(`${path}${mark}done=${done}`, 303);
}

async function visitOf(
  ctx: ServerContext,
  request: PageRequest,
  reply: FastifyReply,
): Promise<Visit | undefined> {
  const person = await personOf(ctx, request);
  if (person === undefined) return undefined;
  const chosen = await userLanguages.of(ctx.db, person.userId);
  const speech = speechFor(ctx, request, chosen === undefined ? undefined : languageOf(chosen));
  return { request, reply, person, speech, form: formFields(request.body) };
}

function isRecent({ clock }: Pick<ServerContext, 'clock'>, { authTs }: Person): boolean {
  return clock.now() - authTs < RECENT_MS;
}

function askAgain(reply: FastifyReply, next: string): FastifyReply {
  return reply.redirect(`${signInUrl(next)}&prompt=login`, 303);
}
