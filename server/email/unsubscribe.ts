/** Links that end the letters about unread messages: whoever has one needs not be signed in. */

import { isUserId } from '#keys/ids.ts';
import { isStringArray } from '#keys/json.ts';
import type { PusherKey } from '#storage/pushers.ts';
import type { Seal } from '../seal.ts';

export const UNSUBSCRIBE_PATH = '/_kurir/email/unsubscribe';

const PURPOSE = 'email-unsubscribe';
const LONGEST_TOKEN = 2_000;

/** What a link names the pusher by: only this server can make it, and nobody else can read it. */
export function unsubscribeToken(seal: Seal, { userId, appId, pushkey }: PusherKey): string {
  return seal.seal(PURPOSE, JSON.stringify([userId, appId, pushkey]));
}

/** The pusher that a link names; undefined for what this server has not made. */
export function pusherOfToken(seal: Seal, token: string): PusherKey | undefined {
  const text = token.length > LONGEST_TOKEN ? undefined : seal.unseal(PURPOSE, token);
  const read: unknown = text === undefined ? undefined : JSON.parse(text);
  if (!isStringArray(read)) return undefined;
  const [userId = '', appId = '', pushkey = ''] = read;
  return isUserId(userId) ? { userId, appId, pushkey } : undefined;
}
