import type { FastifyInstance } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import type { ServerContext } from '../context.ts';
import { acceptForms, FORM_LIMIT, formFields } from '../pages/forms.ts';
import { makeNewcomer, NEWCOMER_PATH, sendNewcomerPage } from '../providers/newcomer.ts';
import { sendTrouble } from '../providers/provider-pages.ts';
import { isFromOurPage } from '../sign-in/browser-sessions.ts';

/** The page on which people choose a name whom an identity provider names for the first time. */
export function providerNewcomerRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (pages) => {
    acceptForms(pages);

    pages.get(NEWCOMER_PATH, async (request, reply) => sendNewcomerPage(ctx, request, reply));

    pages.post(NEWCOMER_PATH, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const again = { status: 403, retry: NEWCOMER_PATH };
      if (!isFromOurPage(ctx, request)) {
        return sendTrouble(ctx, reply, { ...again, problem: ({ fromElsewhere }) => fromElsewhere });
      }
      try {
        ctx.limits.take('registration_check', request.ip);
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        return sendTrouble(ctx, reply, { ...again, status: 429, problem: ({ tooMany }) => tooMany });
      }
      return await makeNewcomer(ctx, { request, reply }, formFields(request.body));
    });
  });
}
