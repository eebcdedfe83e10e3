/** Signing people out because an identity provider says so. */

import type { UserId } from '#keys/ids.ts';
import * as browserSessions from '#storage/browser-sessions.ts';
import type { Tx } from '#storage/database.ts';
import * as deviceOrigins from '#storage/device-origins.ts';
import * as loginTokens from '#storage/login-tokens.ts';
import * as providerEnded from '#storage/provider-ended.ts';
import * as providerTokens from '#storage/provider-tokens.ts';
import { type AccountsContext, endEverySession, endWaiting, removeDevices } from '../auth/accounts.ts';

type EndContext = Pick<AccountsContext, 'db' | 'streams' | 'clock' | 'sessions'>;

/** For so long nobody can begin a session here by one that has ended there: they may be on the way back from it. */
const SID_REMEMBERED_MS = 24 * 60 * 60_000;

/** Ends what one session of a provider has opened, with its pushers, in the caller's write; answers whose it was. */
export async function endSid(
  ctx: EndContext,
  tx: Tx,
  { provider, sid }: { readonly provider: string; readonly sid: string },
): Promise<ReadonlySet<UserId>> {
  const now = ctx.clock.now();
  await providerEnded.add(
    tx,
    { provider, kind: 'sid', id: sid },
    { expiresTs: now + SID_REMEMBERED_MS, now },
  );
  await browserSessions.removeOfSid(tx, provider, sid);
  await loginTokens.removeOfSid(tx, provider, sid);
  const ofUser = new Map<UserId, string[]>();
  for (const { userId, deviceId } of await deviceOrigins.ofSid(tx, provider, sid)) {
    ofUser.set(userId, [...(ofUser.get(userId) ?? []), deviceId]);
  }
  // A session of a provider is that of one person, who has one account.
  for (const [userId, deviceIds] of ofUser) await removeDevices(ctx, tx, userId, deviceIds);
  return new Set(ofUser.keys());
}

/** Ends every session of a user, however it was begun, with its pushers, in the caller's write. */
export async function endUser(
  ctx: EndContext,
  tx: Tx,
  userId: UserId,
  person?: { readonly provider: string; readonly subject: string },
): Promise<void> {
  if (person !== undefined) await providerTokens.remove(tx, person.provider, person.subject);
  await endEverySession(ctx, tx, userId);
}

/** As `endUser`, at once: requests of theirs that wait are answered. */
export async function signOutUser(
  ctx: EndContext,
  userId: UserId,
  person?: { readonly provider: string; readonly subject: string },
): Promise<void> {
  await ctx.db.write('providers.signOut', (tx) => endUser(ctx, tx, userId, person));
  endWaiting(ctx, userId);
}
