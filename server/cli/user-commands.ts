import { randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';
import type { JsonObject } from '#keys/json.ts';
import type { Config } from '../config-options.ts';
import { carryOut } from './carry-out.ts';
import { type Outcome, perform } from './operations.ts';
import { UsageError } from './usage.ts';

export interface AddOptions {
  readonly password: string | undefined;
  readonly passwordStdin: boolean;
  readonly admin: boolean;
}

const PASSWORD_BYTES = 12;

/** Makes an account, and prints a password where none was given. */
export async function addUser(config: Config, user: string, options: AddOptions): Promise<Outcome> {
  const given = await givenPassword(options);
  const password = given ?? randomBytes(PASSWORD_BYTES).toString('base64url');
  const outcome = await operate(config, { operation: 'user.add', user, password, admin: options.admin });
  if (outcome.kind === 'refused' || given !== undefined) return outcome;
  return { kind: 'done', lines: [...outcome.lines, `The password is ${password}`] };
}

export function listUsers(config: Config): Promise<Outcome> {
  return operate(config, { operation: 'user.list' });
}

/** Lists the policies that a user has accepted. */
export function listTerms(config: Config, user: string): Promise<Outcome> {
  return operate(config, { operation: 'user.terms', user });
}

export function deactivateUser(config: Config, user: string, erase: boolean): Promise<Outcome> {
  return operate(config, { operation: 'user.deactivate', user, erase });
}

export type UserChange = 'lock' | 'unlock' | 'suspend' | 'unsuspend' | 'remove-second-factor';

/** Locks or suspends an account, or ends that; or lets somebody in who has lost their second factor. */
export function changeUser(config: Config, user: string, change: UserChange): Promise<Outcome> {
  return operate(config, { operation: `user.${change}`, user });
}

/** Spares a user the rate limits (`off`), or not (`on`). */
export function limitUser(config: Config, user: string, mode: string): Promise<Outcome> {
  if (mode !== 'on' && mode !== 'off') throw new UsageError(`"${mode}" is neither on nor off`);
  return operate(config, { operation: 'user.rate-limit', user, off: mode === 'off' });
}

/** By the running server where there is one, else on its database. */
function operate(config: Config, operation: JsonObject): Promise<Outcome> {
  return carryOut(config, operation, (opened) => perform(opened, operation));
}

async function givenPassword({ password, passwordStdin }: AddOptions): Promise<string | undefined> {
  if (!passwordStdin) return password;
  if (password !== undefined) throw new UsageError('give --password or --password-stdin, not both');
  return (await text(process.stdin)).replace(/\r?\n$/, '');
}
