import type { FastifyInstance } from 'fastify';
import type { ServerContext } from '../context.ts';
import { speechFor } from '../languages/choose.ts';
import { fill } from '../languages/texts.ts';
import { html, phrase, sendPage } from '../pages/html.ts';

/** `GET /`: says to a person what this is, and how to sign in. */
export function rootPageRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const { registration, publicBaseurl } = ctx.config;
  app.get('/', async (request, reply) => {
    const speech = speechFor(ctx, request);
    const { root } = speech.texts;
    const base = publicBaseurl ?? `${request.protocol}://${request.host}`;
    const body = html`
<p>${phrase(root.what, { ending: html`<code>:${ctx.serverName}</code>` })}</p>
<h2>${root.signIn}</h2>
<p>${phrase(root.how, { address: html`<code>https://app.element.io</code>` })}</p>
<p><code>${base}</code></p>
<p>${fill(root[registration], { path: '/_kurir/register' })}</p>
<p><a href="/account">${root.account}</a></p>
`;
    return sendPage(reply, { title: ctx.serverName, body, speech, address: '/' });
  });
}
