/** The ways in which people can sign in on the page of this server. */

import type { UserId } from '#keys/ids.ts';
import { identifiedUser } from '../auth/identifier.ts';
import type { ServerContext } from '../context.ts';
import { canonicalEmail } from '../email/address.ts';

/** A button of the page. */
export interface ProviderButton {
  readonly id: string;
  readonly label: string;
}

interface WithProviders {
  readonly config: unknown;
  /** Absent where the server has no identity providers. */
  readonly providers?: { list(): readonly ProviderButton[] };
}

export function providersOf(ctx: WithProviders): readonly ProviderButton[] {
  return ctx.providers?.list() ?? [];
}

/** The path that begins a sign-in by a provider; with `isAgain` the provider asks for more than its own cookie. */
export function providerPath(
  { id }: ProviderButton,
  { next, isAgain }: { readonly next: string; readonly isAgain: boolean },
): string {
  const query = new URLSearchParams({ next, ...(isAgain && { prompt: 'login' }) });
  return `/sign-in/provider/${encodeURIComponent(id)}?${query}`;
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
