/** What must be done before cross-signing keys are replaced. */

import { wrongCredentials } from '#federation/errors.ts';
import type { JsonObject } from '#keys/json.ts';
import * as crossSigningResets from '#storage/cross-signing-resets.ts';
import * as oauthSessions from '#storage/oauth-sessions.ts';
import type { ServerContext } from '../context.ts';
import { accountUrl, issuerOf } from '../oauth/metadata.ts';
import { confirmByPassword } from './confirm-password.ts';
import type { Stage } from './interactive-auth.ts';
import type { Requester } from './requester.ts';

/** As it is named, and as it was before Matrix 1.17: "servers SHOULD offer two flows" (MSC4312). */
const STAGES = ['m.oauth', 'org.matrix.cross_signing_reset'] as const satisfies readonly Stage[];
/** What is to be done on the account page. */
const RESET = 'org.matrix.cross_signing_reset';

/**
 * Makes the requester confirm that their cross-signing keys are replaced: by user-interactive authentication; in a
 * session of OAuth on the account page (of the authentication service, where one signs people in), which gives a permission for ten minutes. Answers what to call once it is done.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#oauth-authentication
 */
export async function confirmReset(
  ctx: ServerContext,
  body: JsonObject,
  { requester, address }: { readonly requester: Requester; readonly address: string },
): Promise<() => Promise<void>> {
  const { userId } = requester;
  const action = 'replace the cross-signing keys of';
  const page = await resetPage(ctx, requester);
  if (page === undefined) {
    const session = await confirmByPassword(ctx, body, { requester, action, address });
    return async () => ctx.interactiveAuth.finish(session);
  }
  const isAllowed = () => crossSigningResets.isResetAllowed(ctx.db, userId, ctx.clock.now());
  if (!(await isAllowed())) {
    const url = await page();
    const notYet = wrongCredentials('The reset has not been allowed on the account page yet');
    await ctx.interactiveAuth.require(body, {
      scope: `${action} ${userId}`,
      flows: STAGES.map((stage) => [stage]),
      params: Object.fromEntries(STAGES.map((stage) => [stage, { url }])),
      check: async () => ((await isAllowed()) ? undefined : notYet),
    });
  }
  // What was allowed is allowed once.
  return () => ctx.db.write('crossSigningResets.end', (tx) => crossSigningResets.endReset(tx, userId));
}

/** The account page on which it is allowed, of who signs people in; undefined for a session that is none of OAuth. */
async function resetPage(
  ctx: ServerContext,
  requester: Requester,
): Promise<(() => Promise<string>) | undefined> {
  const { mas } = ctx;
  if (mas !== undefined) return () => mas.accountUrl(RESET);
  const issuer = issuerOf(ctx.config);
  if (issuer === undefined || (await oauthSessions.of(ctx.db, requester)) === undefined) return undefined;
  return async () => accountUrl(issuer, RESET);
}
