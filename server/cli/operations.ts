/** What the operator's command does to a server, the same whether the server runs or not. */

import type { UserId } from '#keys/ids.ts';
import { isObject, type JsonObject, own, stringAt } from '#keys/json.ts';
import * as acceptedPolicies from '#storage/accepted-policies.ts';
import * as users from '#storage/users.ts';
import {
  type AccountsContext,
  createAccount,
  deactivate,
  faultOfPassword,
  localUserId,
} from '../auth/accounts.ts';
import { endSecondFactors, setLocked, setSuspended, setUnlimited } from '../auth/moderation.ts';

export type Outcome =
  /** `next`: where a list goes on. `isWrong`: what was looked at is not as it should be. */
  | {
      readonly kind: 'done';
      readonly lines: readonly string[];
      readonly next?: number;
      readonly isWrong?: boolean;
    }
  | { readonly kind: 'refused'; readonly problem: string };

/** What operations need: of a running server, or of a database that was opened for one command. */
export type OperationContext = AccountsContext & {
  /** Called after a deactivation, where somebody is there to leave the rooms. */
  readonly leaveRooms?: (userId: UserId) => void;
};

/** Does one thing: `{"operation": "user.add", ...}`. */
export async function perform(ctx: OperationContext, operation: JsonObject): Promise<Outcome> {
  switch (own(operation, 'operation')) {
    case 'user.add':
      return addUser(ctx, operation);
    case 'user.list':
      return listUsers(ctx);
    case 'user.terms':
      return listTerms(ctx, operation);
    case 'user.deactivate':
      return deactivateUser(ctx, operation);
    case 'user.lock':
      return change(ctx, operation, { set: setLocked, to: true, outcome: 'is locked' });
    case 'user.unlock':
      return change(ctx, operation, { set: setLocked, to: false, outcome: 'is not locked' });
    case 'user.suspend':
      return change(ctx, operation, { set: setSuspended, to: true, outcome: 'is suspended' });
    case 'user.unsuspend':
      return change(ctx, operation, { set: setSuspended, to: false, outcome: 'is not suspended' });
    case 'user.remove-second-factor':
      return change(ctx, operation, {
        ...{
          set: endSecondFactors,
          to: true,
          outcome: 'has no second factor, and is signed out of the pages',
        },
      });
    case 'user.rate-limit': {
      const isOff = own(operation, 'off') === true;
      const outcome = isOff ? 'is spared the rate limits' : 'has the rate limits of everybody';
      return change(ctx, operation, { set: setUnlimited, to: isOff, outcome });
    }
    default:
      return refused('the running server does not know this command: restart it after an upgrade');
  }
}

async function addUser(ctx: OperationContext, operation: JsonObject): Promise<Outcome> {
  const name = stringAt(operation, 'user') ?? '';
  const password = stringAt(operation, 'password') ?? '';
  const isAdmin = own(operation, 'admin') === true;
  const fault = faultOfPassword(password);
  if (fault !== undefined) return refused(`${fault}: give another one`);
  const userId = localUserId(name, ctx.serverName);
  if (userId === undefined) return refused(notAName(ctx, name));
  const localpart = userId.slice(1, userId.indexOf(':'));
  const made = await createAccount(ctx, { localpart, password, isAdmin });
  if (made.kind === 'name_taken') {
    return refused(`${userId} exists already, or did once: choose another name`);
  }
  if (made.kind !== 'created') return refused(notAName(ctx, name));
  return done(`${made.userId} can sign in now${isAdmin ? ', as an administrator' : ''}.`);
}

const PAGE = 1_000;

async function listUsers(ctx: OperationContext): Promise<Outcome> {
  const lines: string[] = [];
  let after: string = '';
  for (;;) {
    // Page by page: each begins where the one before ended.
    const page = await users.list(ctx.db, { after, limit: PAGE });
    lines.push(...page.map(lineOf));
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) break;
    after = last.userId;
  }
  return {
    kind: 'done',
    lines: lines.length > 0 ? lines : ['No accounts yet: make one with "user add NAME".'],
  };
}

function lineOf(user: users.User): string {
  const notes = [
    user.isAdmin && 'admin',
    user.isGuest && 'guest',
    user.lockedTs !== undefined && 'locked',
    user.suspendedTs !== undefined && 'suspended',
    user.isUnlimited && 'no rate limits',
    user.deactivatedTs !== undefined && 'deactivated',
  ];
  return [
    user.userId,
    new Date(user.createdTs).toISOString().slice(0, 10),
    ...notes.filter((note) => note !== false),
  ].join('  ');
}

/** Turns something on or off for an account. */
async function change(
  ctx: OperationContext,
  operation: JsonObject,
  wanted: {
    readonly set: (ctx: AccountsContext, userId: UserId, to: boolean) => Promise<boolean>;
    readonly to: boolean;
    /** Completes the name of the user. */
    readonly outcome: string;
  },
): Promise<Outcome> {
  const name = stringAt(operation, 'user') ?? '';
  const userId = localUserId(name, ctx.serverName);
  if (userId === undefined) return refused(notAName(ctx, name));
  const isDone = await wanted.set(ctx, userId, wanted.to);
  return isDone ? done(`${userId} ${wanted.outcome}.`) : refused(notInUse(userId));
}

/** What a user has accepted, for whoever has to prove it: also of an account that has ended. */
async function listTerms(ctx: OperationContext, operation: JsonObject): Promise<Outcome> {
  const name = stringAt(operation, 'user') ?? '';
  const userId = localUserId(name, ctx.serverName);
  if (userId === undefined) return refused(notAName(ctx, name));
  if ((await users.of(ctx.db, userId)) === undefined)
    return refused(`there is no account ${userId}: see "user list"`);
  const accepted = await acceptedPolicies.ofUser(ctx.db, userId);
  const lines = accepted.map(
    ({ policyId, version, acceptedTs }) => `${policyId}  ${version}  ${new Date(acceptedTs).toISOString()}`,
  );
  return { kind: 'done', lines: lines.length > 0 ? lines : [`${userId} has accepted no policy.`] };
}

function notInUse(userId: UserId): string {
  return `there is no active account ${userId}: see "user list"`;
}

async function deactivateUser(ctx: OperationContext, operation: JsonObject): Promise<Outcome> {
  const name = stringAt(operation, 'user') ?? '';
  const userId = localUserId(name, ctx.serverName);
  if (userId === undefined) return refused(notAName(ctx, name));
  const erase = own(operation, 'erase') === true;
  if (!(await deactivate(ctx, userId, { erase }))) return refused(notInUse(userId));
  ctx.leaveRooms?.(userId);
  const later = ctx.leaveRooms === undefined ? ' It leaves its rooms when the server starts.' : '';
  return done(`${userId} is deactivated: signed out everywhere, and its name stays taken.${later}`);
}

function notAName({ serverName }: OperationContext, name: string): string {
  return (
    `"${name}" is not a user name of ${serverName}: use lower-case letters a-z, digits and . _ = - / +, ` +
    `as in alice or @alice:${serverName}`
  );
}

function done(line: string): Outcome {
  return { kind: 'done', lines: [line] };
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}

/** True for what came back from a server. */
export function isOutcome(value: unknown): value is Outcome {
  return isObject(value) && (value.kind === 'done' || value.kind === 'refused');
}
