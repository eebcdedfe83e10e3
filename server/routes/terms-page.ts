/** The page on which who has an account accepts the policies of this server as they are now. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { belongsTo, type UserId } from '#keys/ids.ts';
import * as userLanguages from '#storage/user-languages.ts';
import * as users from '#storage/users.ts';
import { acceptTerms } from '../auth/registration-challenge.ts';
import { TERMS_PATH } from '../consent/consents.ts';
import { termsList } from '../consent/terms-list.ts';
import type { ServerContext } from '../context.ts';
import { languageOf, type Speech, speechFor } from '../languages/choose.ts';
import { fill } from '../languages/texts.ts';
import { hiddenField, problemBox } from '../pages/fields.ts';
import { acceptForms, FORM_LIMIT, formFields } from '../pages/forms.ts';
import { html, sendPage } from '../pages/html.ts';
import { type Query, queryString } from '../query.ts';
import { isFromOurPage } from '../sign-in/browser-sessions.ts';

interface Asked {
  readonly userId: UserId;
  readonly speech: Speech;
}

/** `GET` shows the policies, `POST` accepts them. */
export function termsPageRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.register(async (pages) => {
    acceptForms(pages);

    pages.get<{ Querystring: Query }>(TERMS_PATH, async (request, reply) => {
      const asked = await askedBy(ctx, request);
      if (asked === undefined) return sendInvalid(reply, speechFor(ctx, request));
      if (!(await ctx.consents.isDue(asked.userId))) return sendAccepted(reply, asked);
      return sendForm(ctx, reply, asked);
    });

    pages.post<{ Querystring: Query }>(TERMS_PATH, { bodyLimit: FORM_LIMIT }, async (request, reply) => {
      const asked = await askedBy(ctx, request);
      if (asked === undefined) return sendInvalid(reply, speechFor(ctx, request));
      const { texts } = asked.speech;
      const form = formFields(request.body);
      if (!isFromOurPage(ctx, request))
        return sendForm(ctx, reply, { ...asked, problem: texts.page.expired });
      if (form.get('accepts') !== 'yes') {
        return sendForm(ctx, reply, { ...asked, problem: texts.stages.mustAccept });
      }
      // Nobody accepts what they were not shown.
      if (form.get('versions') !== ctx.consents.versions) {
        return sendForm(ctx, reply, { ...asked, problem: texts.terms.changed });
      }
      const { userId } = asked;
      await ctx.db.write('terms.accept', (tx) => acceptTerms(ctx, tx, { userId, now: ctx.clock.now() }));
      ctx.log.info({ userId, versions: ctx.consents.versions }, 'a user has accepted the policies');
      return sendAccepted(reply, asked);
    });
  });
}

/** Whose page it is, and their language; undefined for an address that is nobody's. */
async function askedBy(
  ctx: ServerContext,
  request: FastifyRequest<{ Querystring: Query }>,
): Promise<Asked | undefined> {
  const userId = ctx.consents.userOf(queryString(request.query, 'for') ?? '');
  if (userId === undefined || ctx.config.terms.length === 0) return undefined;
  const user = belongsTo(userId, ctx.serverName) ? await users.of(ctx.db, userId) : undefined;
  if (user === undefined || user.deactivatedTs !== undefined) return undefined;
  const chosen = await userLanguages.of(ctx.db, userId);
  return { userId, speech: speechFor(ctx, request, chosen === undefined ? undefined : languageOf(chosen)) };
}

/** The form leads to the address of the page. */
function sendForm(
  { config, consents, serverName }: ServerContext,
  reply: FastifyReply,
  { userId, speech, problem }: Asked & { readonly problem?: string },
): FastifyReply {
  const { texts } = speech;
  const body = html`
${problemBox(texts, problem)}
<p>${fill(texts.terms.asks, { userId })}</p>
<form method="post">
${hiddenField('versions', consents.versions)}
${termsList(config.terms, texts)}
<button>${texts.page.continue}</button>
</form>
`;
  const title = fill(texts.terms.title, { serverName });
  return sendPage(reply, { title, body, speech, status: problem === undefined ? 200 : 400 });
}

function sendAccepted(reply: FastifyReply, { speech }: Asked): FastifyReply {
  const { terms, page } = speech.texts;
  return sendPage(reply, { title: terms.accepted, body: html`<p>${page.canBeClosed}</p>`, speech });
}

function sendInvalid(reply: FastifyReply, speech: Speech): FastifyReply {
  const { terms } = speech.texts;
  const body = html`<p class="problem">${terms.invalid}</p>`;
  return sendPage(reply, { title: terms.none, body, speech, status: 400 });
}
