/**
 * Logout tokens: what a provider says has ended, checked in the order of the specification.
 *
 * https://openid.net/specs/openid-connect-backchannel-1_0.html#Validation
 */

import { sha256Base64Url } from '#keys/hash.ts';
import type { UserId } from '#keys/ids.ts';
import { isObject, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import * as providerEnded from '#storage/provider-ended.ts';
import * as providerLinks from '#storage/provider-links.ts';
import { type AccountsContext, endWaiting } from '../auth/accounts.ts';
import { endSid, endUser } from './ended.ts';
import type { OidcProvider } from './oidc-provider.ts';
import { ProviderFault } from './provider-fault.ts';

const EVENT = 'http://schemas.openid.net/event/backchannel-logout';
/** A token is to be used at once. */
const MAX_AGE_S = 300;
const MAX_AGE_MS = MAX_AGE_S * 1_000;
const LONGEST = 16_000;
const LONGEST_ID = 1_000;

interface Told {
  readonly sub: string | undefined;
  readonly sid: string | undefined;
  readonly jti: string;
}

/**
 * Ends what a logout token says: the sessions of one session of the provider (`sid`), or all of a user (`sub` alone).
 * Answers whose they were.
 *
 * @throws ProviderFault for a token that is not good
 */
export async function endAsToldBy(
  ctx: Pick<AccountsContext, 'db' | 'streams' | 'clock' | 'sessions'>,
  provider: OidcProvider,
  token: string,
): Promise<readonly UserId[]> {
  if (token.length > LONGEST) throw new ProviderFault('invalid', 'the logout token is too long');
  const told = toldBy(await provider.verify(token, { maxAgeS: MAX_AGE_S }));
  const { issuer } = provider.option;
  const ended = await ctx.db.write('providers.logout', async (tx) => {
    const now = ctx.clock.now();
    const id = sha256Base64Url(told.jti);
    const expiresTs = now + 2 * MAX_AGE_MS;
    const isFirst = await providerEnded.add(
      tx,
      { provider: provider.id, kind: 'jti', id },
      { expiresTs, now },
    );
    if (!isFirst) return undefined;
    if (told.sid !== undefined) return await endSid(ctx, tx, { provider: provider.id, sid: told.sid });
    const links = told.sub === undefined ? [] : await providerLinks.ofSub(tx, issuer, told.sub);
    for (const { userId, subject } of links) {
      // One by one: a person has one account, if the operator has not linked more.
      await endUser(ctx, tx, userId, { provider: provider.id, subject });
    }
    return new Set(links.map(({ userId }) => userId));
  });
  if (ended === undefined) throw new ProviderFault('invalid', 'the logout token was used before');
  for (const userId of ended) endWaiting(ctx, userId);
  return [...ended];
}

/** "4. Verify that the Logout Token contains a sub Claim, a sid Claim, or both." And what follows. */
function toldBy(claims: JsonObject): Told {
  const [sub, sid, jti] = [idAt(claims, 'sub'), idAt(claims, 'sid'), idAt(claims, 'jti')];
  if (sub === undefined && sid === undefined) throw wrong('names neither sub nor sid');
  const events = objectAt(claims, 'events');
  if (events === undefined || !isObject(own(events, EVENT))) throw wrong('is for no logout');
  // "Verify that the Logout Token does not contain a nonce Claim": else it could be an ID token.
  if (own(claims, 'nonce') !== undefined) throw wrong('has a nonce');
  if (jti === undefined) throw wrong('has no jti');
  return { sub, sid, jti };
}

function idAt(claims: JsonObject, name: string): string | undefined {
  const value = own(claims, name);
  if (value === undefined || value === null) return undefined;
  const text = stringAt(claims, name);
  if (text === undefined || text === '' || text.length > LONGEST_ID) throw wrong(`has a wrong ${name}`);
  return text;
}

function wrong(what: string): ProviderFault {
  return new ProviderFault('invalid', `the logout token ${what}`);
}
