/** https://openid.net/specs/openid-connect-backchannel-1_0.html */

import type { FastifyInstance, FastifyReply } from 'fastify';
import type { ServerContext } from '../context.ts';
import { acceptForms, FORM_LIMIT, formFields } from '../pages/forms.ts';
import { endAsToldBy } from '../providers/logout-token.ts';
import { ProviderFault } from '../providers/provider-fault.ts';

/** `POST /sign-in/provider/ID/backchannel-logout`: the provider says that somebody has signed out, or may not go on. */
export function providerLogoutRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (pages) => {
    acceptForms(pages);

    pages.post<{ Params: { id: string } }>(
      '/sign-in/provider/:id/backchannel-logout',
      { bodyLimit: FORM_LIMIT },
      async (request, reply) => {
        // "the RP's response SHOULD include the Cache-Control HTTP response header field with a no-store value"
        reply.header('cache-control', 'no-store');
        const provider = ctx.providers.get(request.params.id);
        if (provider === undefined) return refuse(reply, 404, 'no such provider');
        const [token, ...others] = formFields(request.body).getAll('logout_token');
        if (token === undefined || others.length > 0)
          return refuse(reply, 400, 'logout_token is needed, once');
        try {
          const ended = await endAsToldBy(ctx, provider, token);
          ctx.log.info({ provider: provider.id, users: ended }, 'an identity provider has signed out');
          return reply.code(200).send();
        } catch (error) {
          if (!(error instanceof ProviderFault)) throw error;
          const { message: reason } = error;
          ctx.log.warn({ provider: provider.id, reason }, 'a logout token was refused');
          // Where the keys cannot be had the provider is to try again.
          return error.kind === 'unreachable' ? refuse(reply, 503, reason) : refuse(reply, 400, reason);
        }
      },
    );
  });
}

function refuse(reply: FastifyReply, status: number, reason: string): FastifyReply {
  return reply.code(status).send({ error: 'invalid_request', error_description: reason });
}
