/** Which account somebody has whom an identity provider or a directory names, and the making of it. */

import type { UserId } from '#keys/ids.ts';
import { own } from '#keys/json.ts';
import type { Tx } from '#storage/database.ts';
import * as profiles from '#storage/profiles.ts';
import * as providerLinks from '#storage/provider-links.ts';
import * as users from '#storage/users.ts';
import { createAccount, endWaiting } from '../auth/accounts.ts';
import { acceptTerms } from '../auth/registration-challenge.ts';
import type { ServerContext } from '../context.ts';
import { addAddress } from '../email/add-address.ts';
import { canonicalEmail } from '../email/address.ts';
import { showInRooms } from '../profiles/profile-in-rooms.ts';
import { linkToScimUser } from '../scim/provider-link.ts';
import { filledIn, isAdminByGroups, proposedLocalpart, refusalByGroups } from './claims.ts';
import type { Identity } from './oidc-identity.ts';
import type { Mapping } from './oidc-option.ts';

/** Who vouches, and for whom. */
export type Person = Pick<Identity, 'issuer' | 'subject' | 'sub' | 'claims'>;

/** What is taken over from a provider. */
export interface Attributes {
  readonly displayName: string | undefined;
  /** In canonical form, and confirmed. */
  readonly email: string | undefined;
  readonly isAdmin: boolean | undefined;
}

export type FoundAccount =
  | { readonly kind: 'known'; readonly user: users.User }
  /** Nobody yet; `localpart` is what they may be called, if that is free. */
  | { readonly kind: 'new'; readonly localpart: string | undefined }
  | { readonly kind: 'refused'; readonly why: 'not_allowed' | 'no_account' | 'deactivated' | 'locked' };

const LONGEST_NAME = 256;

/** The account of a person, who may sign in. Found by the permanent id alone: a name can be given again. */
export async function accountOf(
  ctx: Pick<ServerContext, 'db' | 'serverName' | 'clock'>,
  person: Person,
  mapping: Mapping,
): Promise<FoundAccount> {
  const why = refusalByGroups(person.claims, mapping);
  if (why !== undefined) return { kind: 'refused', why };
  const link =
    (await providerLinks.of(ctx.db, person.issuer, person.subject)) ??
    (await linkToScimUser(ctx, person, mapping));
  const user = link && (await users.of(ctx.db, link.userId));
  if (user !== undefined) {
    if (user.deactivatedTs !== undefined) return { kind: 'refused', why: 'deactivated' };
    if (user.lockedTs !== undefined) return { kind: 'refused', why: 'locked' };
    return { kind: 'known', user };
  }
  if (!mapping.createsAccounts) return { kind: 'refused', why: 'no_account' };
  const localpart = proposedLocalpart(mapping.localpart, person.claims, ctx.serverName);
  const isFree = localpart !== undefined && (await isFreeName(ctx, localpart));
  return { kind: 'new', localpart: isFree ? localpart : undefined };
}

/** What the provider says of a person that is taken over. */
export function attributesOf(person: Pick<Person, 'claims'>, mapping: Mapping): Attributes {
  const { claims } = person;
  const said = filledIn(mapping.email, claims);
  const isConfirmed = mapping.trustsEmail || own(claims, 'email_verified') === true;
  return {
    displayName: filledIn(mapping.displayName, claims)?.slice(0, LONGEST_NAME).toWellFormed(),
    email: said !== undefined && isConfirmed ? canonicalEmail(said) : undefined,
    isAdmin: isAdminByGroups(claims, mapping),
  };
}

class LinkedMeanwhile extends Error {
  override readonly name = 'LinkedMeanwhile';
}

/** Makes the account of a person who has none. Never takes one over: a name that is taken is another's. */
export async function createLinked(
  ctx: ServerContext,
  person: Pick<Person, 'issuer' | 'subject' | 'sub'>,
  account: {
    readonly localpart: string;
    readonly attributes: Attributes;
    readonly acceptsTerms: boolean;
  },
): Promise<{ kind: 'created'; userId: UserId } | { kind: 'invalid_name' | 'name_taken' | 'linked' }> {
  const { localpart, attributes, acceptsTerms } = account;
  const { issuer, subject, sub } = person;
  try {
    const made = await createAccount(ctx, {
      localpart,
      password: undefined,
      isAdmin: attributes.isAdmin ?? false,
      alsoWrite: async (tx, userId, now) => {
        const link = { issuer, subject, sub, userId, createdTs: now, usedTs: now };
        if (!(await providerLinks.add(tx, link))) throw new LinkedMeanwhile('linked by another request');
        if (acceptsTerms) await acceptTerms(ctx, tx, { userId, now });
        await writeAttributes(ctx, tx, userId, { attributes, now });
      },
    });
    if (made.kind === 'created') return made;
    return { kind: made.kind === 'name_taken' ? 'name_taken' : 'invalid_name' };
  } catch (error) {
    if (error instanceof LinkedMeanwhile) return { kind: 'linked' };
    throw error;
  }
}

/** Notes that a person has signed in, and takes over what has changed at the provider. */
export async function noteSignIn(
  ctx: ServerContext,
  userId: UserId,
  { person, mapping }: { readonly person: Person; readonly mapping: Mapping },
): Promise<void> {
  const attributes = attributesOf(person, mapping);
  const before = await profiles.of(ctx.db, userId);
  const isCurrent = mapping.update === 'always';
  const hasChanged = await ctx.db.write('providers.signIn', async (tx) => {
    const now = ctx.clock.now();
    await providerLinks.used(tx, person, now);
    if (isCurrent) await writeAttributes(ctx, tx, userId, { attributes, now });
    if (attributes.isAdmin === undefined) return false;
    return await users.setAdmin(tx, userId, attributes.isAdmin);
  });
  if (hasChanged) endWaiting(ctx, userId);
  const { displayName } = attributes;
  if (isCurrent && displayName !== undefined && before.displayname !== displayName) {
    await showInRooms(ctx, userId);
  }
}

/** True for a name that an account may have and none has had. */
async function isFreeName(
  { db, serverName }: Pick<ServerContext, 'db' | 'serverName'>,
  localpart: string,
): Promise<boolean> {
  return (await users.of(db, `@${localpart}:${serverName}`)) === undefined;
}

async function writeAttributes(
  ctx: ServerContext,
  tx: Tx,
  userId: UserId,
  { attributes, now }: { readonly attributes: Attributes; readonly now: number },
): Promise<void> {
  const { displayName, email } = attributes;
  if (displayName !== undefined) await profiles.set(tx, userId, 'displayname', displayName);
  // An address that is somebody else's stays theirs.
  if (email !== undefined) {
    await addAddress(ctx, tx, userId, { address: email, validatedTs: now, addedTs: now });
  }
}
