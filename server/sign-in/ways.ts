/** The ways in which people can sign in on the page of this server. */

import type { UserId } from '#keys/ids.ts';
import { identifiedUser } from '../auth/identifier.ts';
import type { ServerContext } from '../context.ts';
import { canonicalEmail } from '../email/address.ts';
import { type ProviderButton, providerSignInUrl } from '../providers/providers.ts';

/** The path that begins a sign-in by a provider; with `isAgain` the provider asks for more than its own cookie. */
export function providerPath(
  { id }: Pick<ProviderButton, 'id'>,
  { next, isAgain }: { readonly next: string; readonly isAgain: boolean },
): string {
  return `${providerSignInUrl(id, next)}${isAgain ? '&prompt=login' : ''}`;
}

/** The only way in, where that is one identity provider. */
export function onlyProvider({
  config,
  providers,
}: Pick<ServerContext, 'config' | 'providers'>): ProviderButton | undefined {
  const [first, ...others] = providers.list();
  return config.passwordLogin || others.length > 0 ? undefined : first;
}

/** The account that somebody means by a user name, a user id or an e-mail address. */
export async function userNamed(
  ctx: Pick<ServerContext, 'db' | 'serverName'>,
  name: string,
): Promise<UserId | undefined> {
  const isEmail = !name.startsWith('@') && canonicalEmail(name) !== undefined;
  const identifier = isEmail
    ? { type: 'm.id.thirdparty', medium: 'email', address: name }
    : { type: 'm.id.user', user: name };
  return await identifiedUser(ctx, { identifier });
}
