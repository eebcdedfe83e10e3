/** The page behind the link of a letter: asks for a click, since programs that look for viruses follow links, too. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { EmailValidation } from '#storage/email-validations.ts';
import type { ServerContext } from '../context.ts';
import { CONFIRM_PATH, confirmEmail, validationOf } from '../email/validation.ts';
import { type Speech, speechFor } from '../languages/choose.ts';
import { fill } from '../languages/texts.ts';
import { acceptForms, FORM_LIMIT } from '../pages/forms.ts';
import { html, sendPage } from '../pages/html.ts';
import { type Query, queryString } from '../query.ts';

/** `GET` asks, `POST` confirms. */
export function emailConfirmationPageRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (pages) => {
    acceptForms(pages);

    pages.get<{ Querystring: Query }>(CONFIRM_PATH, async (request, reply) => {
      const speech = speechFor(ctx, request);
      const known = await validationOf(ctx, linkOf(ctx, request));
      if (known === undefined) return sendInvalid(reply, speech);
      if (known.validatedTs !== undefined) return sendConfirmed(reply, speech);
      return sendQuestion(ctx, reply, { known, speech });
    });

    pages.post<{ Querystring: Query }>(CONFIRM_PATH, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const speech = speechFor(ctx, request);
      const confirmed = await confirmEmail(ctx, linkOf(ctx, request));
      if (confirmed === undefined) return sendInvalid(reply, speech);
      // "the identity server will redirect the user to this URL": it is one that the operator allows.
      const { nextLink } = confirmed;
      return nextLink === undefined ? sendConfirmed(reply, speech) : reply.redirect(nextLink, 303);
    });
  });
}

function linkOf(
  ctx: ServerContext,
  request: FastifyRequest<{ Querystring: Query }>,
): { sid: string; token: string } {
  ctx.limits.take('email_confirm', request.ip);
  const { query } = request;
  return { sid: queryString(query, 'sid') ?? '', token: queryString(query, 'token') ?? '' };
}

/** The form leads to the address of the page. */
function sendQuestion(
  { serverName }: ServerContext,
  reply: FastifyReply,
  { known, speech }: { known: EmailValidation; speech: Speech },
): FastifyReply {
  const { purpose, nextLink } = known;
  const { page, emailPage: words } = speech.texts;
  const body = html`
<p>${words[purpose]}</p>
<form method="post"><button>${page.confirm}</button></form>
`;
  return sendPage(reply, {
    title: fill(words.title, { serverName }),
    body,
    speech,
    ...(nextLink !== undefined && { leadsTo: new URL(nextLink).origin }),
  });
}

function sendConfirmed(reply: FastifyReply, speech: Speech): FastifyReply {
  const { confirmed, isConfirmed } = speech.texts.emailPage;
  return sendPage(reply, { title: confirmed, body: html`<p>${isConfirmed}</p>`, speech });
}

function sendInvalid(reply: FastifyReply, speech: Speech): FastifyReply {
  const { notConfirmed, invalid } = speech.texts.emailPage;
  const body = html`<p class="problem">${invalid}</p>`;
  return sendPage(reply, { title: notConfirmed, body, speech, status: 400 });
}
