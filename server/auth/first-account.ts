import { hashToken, newToken } from '#keys/tokens.ts';
import * as registrationTokens from '#storage/registration-tokens.ts';
import * as users from '#storage/users.ts';
import type { ServerContext } from '../context.ts';
import { emailOfRegistration } from './registration-challenge.ts';

const LINK_HOURS = 24;

export type FirstAccount =
  | { readonly kind: 'exists' }
  /** Registration is closed, or needs a client, to confirm an e-mail address: the operator makes accounts. */
  | { readonly kind: 'by_operator' }
  | { readonly kind: 'by_link'; readonly path: string; readonly hours: number };

/** How the first account can be made. The link admits one account, and ends after a day. */
export async function firstAccount(ctx: ServerContext): Promise<FirstAccount> {
  if (await users.anyExists(ctx.db)) return { kind: 'exists' };
  const { registration } = ctx.config;
  if (registration === 'closed' || emailOfRegistration(ctx) === 'required') return { kind: 'by_operator' };
  const token = newToken('krt');
  const now = ctx.clock.now();
  const expiresTs = now + LINK_HOURS * 3_600_000;
  await ctx.db.write('registrationTokens.add', (tx) =>
    registrationTokens.add(tx, { hash: hashToken(token), uses: 1, now, expiresTs }),
  );
  return { kind: 'by_link', path: `/_kurir/register?token=${token}`, hours: LINK_HOURS };
}
