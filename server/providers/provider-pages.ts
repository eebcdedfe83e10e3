/** What people are told whom an identity provider did not sign in. */

import type { FastifyReply } from 'fastify';
import type { ServerContext } from '../context.ts';
import { type Speech, speechFor } from '../languages/choose.ts';
import type { Texts } from '../languages/texts.ts';
import { problemBox } from '../pages/fields.ts';
import { html, sendPage } from '../pages/html.ts';

type PageContext = Pick<ServerContext, 'config'>;

const REFUSALS = {
  not_allowed: 'notAllowed',
  no_account: 'noAccount',
  deactivated: 'deactivated',
  locked: 'locked',
} as const satisfies Record<string, keyof Texts['providers']>;

/** How to speak to the person who is answered. */
export function speechTo(ctx: PageContext, reply: FastifyReply): Speech {
  return speechFor(ctx, reply.request);
}

/** Says why somebody may not come in. */
export function sendRefusal(ctx: PageContext, reply: FastifyReply, why: keyof typeof REFUSALS): FastifyReply {
  const speech = speechTo(ctx, reply);
  const { texts } = speech;
  const body = problemBox(texts, texts.providers[REFUSALS[why]]);
  return sendPage(reply, { title: texts.providers.notSignedIn, body, status: 403, speech });
}

/** Says what went wrong, and leads back to try again. */
export function sendTrouble(
  ctx: PageContext,
  reply: FastifyReply,
  {
    status,
    problem,
    retry,
  }: {
    readonly status: number;
    readonly problem: (texts: Texts['providers']) => string;
    readonly retry: string;
  },
): FastifyReply {
  const speech = speechTo(ctx, reply);
  const { texts } = speech;
  const { notSignedIn: title, tryAgain } = texts.providers;
  const body = html`${problemBox(texts, problem(texts.providers))}<p><a href="${retry}">${tryAgain}</a></p>`;
  return sendPage(reply, { title, body, status, speech });
}

/** Says that there is no such provider. */
export function sendUnknownProvider(ctx: PageContext, reply: FastifyReply): FastifyReply {
  const speech = speechTo(ctx, reply);
  const { texts } = speech;
  const body = problemBox(texts, texts.providers.unknownProvider);
  return sendPage(reply, { title: texts.providers.notSignedIn, body, status: 404, speech });
}
