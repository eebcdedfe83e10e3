/** The page behind the link of a letter: asks for a click, since programs that look for viruses follow links, too. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { EmailValidation, Purpose } from '#storage/email-validations.ts';
import type { ServerContext } from '../context.ts';
import { CONFIRM_PATH, confirmEmail, validationOf } from '../email/validation.ts';
import { acceptForms, FORM_LIMIT } from '../forms.ts';
import { html, sendPage } from '../html.ts';
import { type Query, queryString } from '../query.ts';

const QUESTIONS: Readonly<Record<Purpose, string>> = {
  register: 'Somebody wants to make an account with the e-mail address to which the link was sent.',
  password:
    'Somebody wants to set a new password for the account with the e-mail address to which the link was sent. If it ' +
    'was not you, close this page.',
  add: 'Somebody wants to add the e-mail address to which the link was sent to their account.',
};

/** `GET` asks, `POST` confirms. */
export function emailConfirmationPageRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (pages) => {
    acceptForms(pages);

    pages.get<{ Querystring: Query }>(CONFIRM_PATH, async (request, reply) => {
      const known = await validationOf(ctx, linkOf(ctx, request));
      if (known === undefined) return sendInvalid(reply);
      if (known.validatedTs !== undefined) return sendConfirmed(reply);
      return sendQuestion(ctx, reply, known);
    });

    pages.post<{ Querystring: Query }>(CONFIRM_PATH, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const confirmed = await confirmEmail(ctx, linkOf(ctx, request));
      if (confirmed === undefined) return sendInvalid(reply);
      // "the identity server will redirect the user to this URL": it is one that the operator allows.
      const { nextLink } = confirmed;
      return nextLink === undefined ? sendConfirmed(reply) : reply.redirect(nextLink, 303);
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

/** The form leads to the address of the page, so that the token stands nowhere in it. */
function sendQuestion(
  { serverName }: ServerContext,
  reply: FastifyReply,
  { purpose, nextLink }: EmailValidation,
): FastifyReply {
  const body = html`
<p>${QUESTIONS[purpose]}</p>
<form method="post"><button>Confirm</button></form>
`;
  return sendPage(reply, {
    title: `E-mail address for ${serverName}`,
    body,
    ...(nextLink !== undefined && { leadsTo: new URL(nextLink).origin }),
  });
}

function sendConfirmed(reply: FastifyReply): FastifyReply {
  const body = html`<p>The address is confirmed. Go on in your Matrix client: this page can be closed.</p>`;
  return sendPage(reply, { title: 'Confirmed', body });
}

function sendInvalid(reply: FastifyReply): FastifyReply {
  const body = html`<p class="problem">This link is not valid: it is too old, or a newer letter was sent, or it was used
already. Ask for another letter in your Matrix client.</p>`;
  return sendPage(reply, { title: 'Not confirmed', body, status: 400 });
}
