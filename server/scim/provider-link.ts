/** Users whom a directory has made sign in by the identity provider: their accounts are theirs from the first time on. */

import * as providerLinks from '#storage/provider-links.ts';
import * as scimUsers from '#storage/scim-users.ts';
import type { ServerContext } from '../context.ts';
import { claimAt } from '../providers/claims.ts';
import type { Person } from '../providers/linked-accounts.ts';
import type { Mapping } from '../providers/oidc-option.ts';

const MAX_CHARACTERS = 1_000;

/** Links somebody to the account of the user whose `externalId` the provider says; undefined where there is none. */
export async function linkToScimUser(
  { db, clock }: Pick<ServerContext, 'db' | 'clock'>,
  { issuer, subject, sub, claims }: Person,
  { scimExternalId }: Pick<Mapping, 'scimExternalId'>,
): Promise<providerLinks.ProviderLink | undefined> {
  const id = scimExternalId === undefined ? undefined : claimAt(claims, scimExternalId);
  if (typeof id !== 'string' || id === '' || id.length > MAX_CHARACTERS || id.includes('\0'))
    return undefined;
  return await db.write('scim.link', async (tx) => {
    const user = await scimUsers.byExternalId(tx, id);
    if (user === undefined) return undefined;
    const { userId } = user;
    await providerLinks.add(tx, { issuer, subject, sub, userId, createdTs: clock.now(), usedTs: undefined });
    return await providerLinks.of(tx, issuer, subject);
  });
}
