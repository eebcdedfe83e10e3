/** Which Matrix user id a user of the directory gets. */

import { misfitOfUserName } from '#federation/partners/policy.ts';
import { localpartOf, type UserId } from '#keys/ids.ts';
import { localpartFor } from '../auth/accounts.ts';
import type { ServerContext } from '../context.ts';
import { invalidValue } from './errors.ts';
import { localpartBy } from './template.ts';

/**
 * The user id for a name of the directory, by the first template of the option `scim_user_name` that fits: with
 * `{localpart}@example.org`, `Anna.Berg@example.org` becomes `anna.berg`.
 */
export function userIdFor(
  ctx: Pick<ServerContext, 'config' | 'serverName' | 'partners'>,
  userName: string,
): UserId {
  const { serverName, config } = ctx;
  for (const template of config.scimUserName) {
    const localpart = localpartBy(template, userName);
    const valid = localpart === undefined ? undefined : localpartFor(localpart, serverName);
    if (valid === undefined) continue;
    const userId: UserId = `@${valid}:${serverName}`;
    const unfit = misfitOfUserName(ctx.partners.current.list, localpartOf(userId));
    if (unfit !== undefined) throw invalidValue(`userName: ${unfit}`);
    return userId;
  }
  throw invalidValue(
    `userName gives no user name of ${serverName}, which has letters a-z, digits and . _ = - / + only: ` +
      `it must be ${config.scimUserName.join(' or ')} (option scim_user_name)`,
  );
}
