/** What the operator does to the links between accounts and those who vouch for people. */

import { type JsonObject, own, stringAt } from '#keys/json.ts';
import * as providerLinks from '#storage/provider-links.ts';
import * as users from '#storage/users.ts';
import { localUserId } from '../auth/accounts.ts';
import type { OperationContext, Outcome } from './operations.ts';

const LONGEST_SUBJECT = 2_000;

/** Does one thing to links; undefined for what is no operation on them. */
export async function performOnLinks(
  ctx: OperationContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  const name = own(operation, 'operation');
  if (name !== 'user.link' && name !== 'user.unlink') return undefined;
  const user = stringAt(operation, 'user') ?? '';
  const userId = localUserId(user, ctx.serverName);
  const account = userId && (await users.of(ctx.db, userId));
  if (userId === undefined || account === undefined || account.deactivatedTs !== undefined) {
    return { kind: 'refused', problem: `there is no active account ${userId ?? user}: see "user list"` };
  }
  const issuer = stringAt(operation, 'issuer');
  if (issuer === undefined) return await listLinks(ctx, userId);
  const subject = stringAt(operation, 'subject') ?? '';
  if (subject === '' || subject.length > LONGEST_SUBJECT) {
    return { kind: 'refused', problem: 'the permanent id of the person is missing, or too long' };
  }
  return name === 'user.link'
    ? await link(ctx, { userId, issuer, subject, sub: stringAt(operation, 'sub') ?? subject })
    : await unlink(ctx, { userId, issuer, subject });
}

type Link = Pick<providerLinks.ProviderLink, 'userId' | 'issuer' | 'subject'>;

async function link(ctx: OperationContext, link: Link & { readonly sub: string }): Promise<Outcome> {
  const { userId, issuer, subject } = link;
  const createdTs = ctx.clock.now();
  const isNew = await ctx.db.write('providerLinks.add', (tx) =>
    providerLinks.add(tx, { ...link, createdTs, usedTs: undefined }),
  );
  if (isNew) return { kind: 'done', lines: [`${subject} of ${issuer} signs in as ${userId} from now on.`] };
  const known = await providerLinks.of(ctx.db, issuer, subject);
  return {
    kind: 'refused',
    problem: `${subject} of ${issuer} signs in as ${known?.userId ?? 'somebody'}: end that first, with "user unlink"`,
  };
}

async function unlink(ctx: OperationContext, link: Link): Promise<Outcome> {
  const { userId, issuer, subject } = link;
  const isDone = await ctx.db.write('providerLinks.remove', (tx) => providerLinks.remove(tx, link));
  if (isDone) return { kind: 'done', lines: [`${subject} of ${issuer} is not ${userId} any more.`] };
  return {
    kind: 'refused',
    problem: `${userId} is not linked to ${subject} of ${issuer}: see "user link NAME"`,
  };
}

async function listLinks(ctx: OperationContext, userId: Link['userId']): Promise<Outcome> {
  const links = await providerLinks.ofUser(ctx.db, userId);
  const lines = links.map(({ issuer, subject, usedTs }) => {
    const used =
      usedTs === undefined ? 'never used' : `last used ${new Date(usedTs).toISOString().slice(0, 10)}`;
    return `${issuer}  ${subject}  ${used}`;
  });
  return { kind: 'done', lines: lines.length > 0 ? lines : [`${userId} signs in by no provider.`] };
}
