/**
 * The page that ends the letters about unread messages. It asks for a click, since programs that look for viruses follow
 * links, too; mail programs post by themselves: https://www.rfc-editor.org/rfc/rfc8058
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import * as pushers from '#storage/pushers.ts';
import type { ServerContext } from '../context.ts';
import { pusherOfToken, UNSUBSCRIBE_PATH } from '../email/unsubscribe.ts';
import { type Speech, speechFor } from '../languages/choose.ts';
import { fill } from '../languages/texts.ts';
import { acceptForms, FORM_LIMIT } from '../pages/forms.ts';
import { html, sendPage } from '../pages/html.ts';
import { type Query, queryString } from '../query.ts';

/** `GET` asks, `POST` ends them. */
export function unsubscribePageRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (pages) => {
    acceptForms(pages);

    pages.get<{ Querystring: Query }>(UNSUBSCRIBE_PATH, async (request, reply) => {
      const speech = speechFor(ctx, request);
      const key = pusherOf(ctx, request);
      return key === undefined ? sendInvalid(reply, speech) : sendQuestion(ctx, reply, { key, speech });
    });

    pages.post<{ Querystring: Query }>(
      UNSUBSCRIBE_PATH,
      { bodyLimit: FORM_LIMIT },
      async (request, reply) => {
        const speech = speechFor(ctx, request);
        const key = pusherOf(ctx, request);
        if (key === undefined) return sendInvalid(reply, speech);
        await ctx.db.write('pushers.unsubscribe', (tx) =>
          pushers.removeOfAddress(tx, key.userId, key.pushkey),
        );
        const { done, isDone } = speech.texts.unsubscribe;
        return sendPage(reply, { title: done, body: html`<p>${isDone}</p>`, speech });
      },
    );
  });
}

function pusherOf(
  ctx: ServerContext,
  request: FastifyRequest<{ Querystring: Query }>,
): pushers.PusherKey | undefined {
  ctx.limits.take('email_confirm', request.ip);
  return pusherOfToken(ctx.seal, queryString(request.query, 'token') ?? '');
}

/** The form leads to the address of the page. */
function sendQuestion(
  { serverName }: ServerContext,
  reply: FastifyReply,
  { key, speech }: { key: pushers.PusherKey; speech: Speech },
): FastifyReply {
  const { unsubscribe: words } = speech.texts;
  const body = html`<p>${fill(words.asks, { address: key.pushkey, userId: key.userId })}</p>
<form method="post"><button>${words.stop}</button></form>`;
  return sendPage(reply, { title: fill(words.title, { serverName }), body, speech });
}

function sendInvalid(reply: FastifyReply, speech: Speech): FastifyReply {
  const { invalid } = speech.texts.unsubscribe;
  return sendPage(reply, { title: invalid, body: html``, speech, status: 400 });
}
