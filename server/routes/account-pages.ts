import type { FastifyInstance } from 'fastify';
import { devicesPages } from '../account/devices-pages.ts';
import { emailsPages } from '../account/emails-page.ts';
import { endingPages } from '../account/ending-pages.ts';
import { passwordPage } from '../account/password-page.ts';
import { secondStepPage } from '../account/second-step-page.ts';
import { settingsPages } from '../account/settings-pages.ts';
import type { ServerContext } from '../context.ts';
import { acceptForms } from '../pages/forms.ts';

/**
 * The pages on which people keep their account: "the URL where the user is able to access the account management
 * capabilities of the homeserver".
 *
 * https://spec.matrix.org/v1.19/client-server-api/#oauth-20-account-management
 */
export function accountPagesRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (pages) => {
    acceptForms(pages);
    settingsPages(pages, ctx);
    devicesPages(pages, ctx);
    passwordPage(pages, ctx);
    emailsPages(pages, ctx);
    secondStepPage(pages, ctx);
    endingPages(pages, ctx);
  });
}
