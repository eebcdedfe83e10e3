import type { FastifyInstance } from 'fastify';
import type { ServerContext } from '../context.ts';
import { html, sendPage } from '../html.ts';

/** `GET /`: says to a person what this is, and how to sign in. */
export function rootPageRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const { registration, publicBaseurl } = ctx.config;
  app.get('/', async (request, reply) => {
    const base = publicBaseurl ?? `${request.protocol}://${request.host}`;
    const joining = {
      closed: 'Accounts are made by the administrator of this server.',
      token:
        'To make an account you need a registration token or a link from the administrator of this server.',
      open: 'Anybody can make an account, in a client or on the page /_kurir/register.',
    }[registration];
    const body = html`
<p>This is a Matrix server, running Kurir. The names of its users end in <code>:${ctx.serverName}</code>.</p>
<h2>Sign in</h2>
<p>Open a Matrix client, such as Element (<code>https://app.element.io</code>, or Element Desktop), choose
another homeserver than the one it proposes, and enter:</p>
<p><code>${base}</code></p>
<p>${joining}</p>
`;
    return sendPage(reply, { title: ctx.serverName, body });
  });
}
