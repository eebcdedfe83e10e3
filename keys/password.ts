/**
 * Passwords at rest: argon2id with 19 MiB, two passes and one lane, in the PHC string format
 * (`$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`).
 *
 * Two are computed at once, on the thread pool; behind them a short queue, so that a flood of logins is refused
 * and not remembered.
 */

import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { Lanes, LanesFull } from './lanes.ts';

/** Too many passwords wait to be checked: the client is to come back later. */
export class PasswordQueueFull extends Error {
  override readonly name = 'PasswordQueueFull';
}

interface Cost {
  /** KiB */
  readonly memory: number;
  readonly passes: number;
  readonly parallelism: number;
}

/** How many are computed at once. */
export const PASSWORDS_AT_ONCE = 2;
/** How many may wait for one of them. */
export const PASSWORDS_WAITING = 64;

const COST: Cost = { memory: 19_456, passes: 2, parallelism: 1 };
/** The most that a stored hash, perhaps brought from elsewhere, may cost us. */
const MAX_COST: Cost = { memory: 131_072, passes: 8, parallelism: 8 };
const SALT_BYTES = 16;
const TAG_BYTES = 32;
const PHC =
  /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;

const lanes = new Lanes(PASSWORDS_AT_ONCE, PASSWORDS_WAITING);
const nobody = { cost: COST, salt: randomBytes(SALT_BYTES), tag: randomBytes(TAG_BYTES) };

/** The string to store. Rejects with `PasswordQueueFull` where too many wait. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const tag = await derive(password, salt, COST, TAG_BYTES);
  const { memory, passes, parallelism } = COST;
  return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${encodeBase64(salt)}$${encodeBase64(tag)}`;
}

/** True for the password that `stored` was made of. Rejects with `PasswordQueueFull` where too many wait. */
export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  const hash = parsePhc(stored);
  if (hash === undefined) return false;
  const tag = await derive(password, hash.salt, hash.cost, hash.tag.length);
  return timingSafeEqual(tag, hash.tag);
}

/** Takes as long as `verifyPassword`, for users who do not exist, and is always false. */
export async function verifyNothing(password: string): Promise<false> {
  const tag = await derive(password, nobody.salt, nobody.cost, nobody.tag.length);
  timingSafeEqual(tag, nobody.tag);
  return false;
}

async function derive(password: string, salt: Uint8Array, cost: Cost, tagLength: number): Promise<Buffer> {
  // One keyboard types an accented letter as one character, another as two.
  const message = password.normalize('NFKC');
  try {
    return await lanes.run(() => argon2id({ message, nonce: salt, tagLength, ...cost }));
  } catch (error) {
    if (error instanceof LanesFull) throw new PasswordQueueFull('too many passwords wait', { cause: error });
    throw error;
  }
}

function argon2id(parameters: Parameters<typeof argon2>[1]): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    argon2('argon2id', parameters, (error, tag) => {
      if (error === null) resolve(tag);
      else reject(error);
    });
  });
}

function parsePhc(stored: string): { cost: Cost; salt: Uint8Array; tag: Uint8Array } | undefined {
  const match = PHC.exec(stored);
  if (match === null) return undefined;
  const [, memory, passes, parallelism, salt64 = '', tag64 = ''] = match;
  const cost = { memory: Number(memory), passes: Number(passes), parallelism: Number(parallelism) };
  const salt = decodeBase64(salt64);
  const tag = decodeBase64(tag64);
  if (salt === undefined || tag === undefined || !isBearable(cost)) return undefined;
  return { cost, salt, tag };
}

function isBearable({ memory, passes, parallelism }: Cost): boolean {
  if (passes < 1 || parallelism < 1 || memory < 8 * parallelism) return false;
  return memory <= MAX_COST.memory && passes <= MAX_COST.passes && parallelism <= MAX_COST.parallelism;
}
