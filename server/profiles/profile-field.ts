import { invalidParam, profileTooLarge } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { type Json, own } from '#keys/json.ts';
import * as profiles from '#storage/profiles.ts';
import type { ServerContext } from '../context.ts';
import { showInRooms } from './profile-in-rooms.ts';

/** "profile size must be no more than 64 KiB" */
const MAX_PROFILE_BYTES = 64 * 1024;
export const MAX_NAME_CHARACTERS = 256;
const MAX_AVATAR_CHARACTERS = 1_000;

/** The value to store; undefined for an empty name or avatar, by which clients remove it. */
export function checkProfileValue(keyName: string, value: Json): Json | undefined {
  if (keyName !== 'displayname' && keyName !== 'avatar_url') return value;
  if (value === null || value === '') return undefined;
  if (typeof value !== 'string') throw invalidParam(`${keyName} must be a string`);
  const most = keyName === 'displayname' ? MAX_NAME_CHARACTERS : MAX_AVATAR_CHARACTERS;
  if (value.length > most) throw invalidParam(`${keyName} is longer than ${most} characters`);
  return value;
}

/** Sets a field of a user's own profile, or removes it; a change of name or avatar goes to all rooms. */
export async function setProfileField(
  ctx: ServerContext,
  { userId, keyName, value }: { userId: UserId; keyName: string; value: Json | undefined },
): Promise<void> {
  const before = await ctx.db.write('profiles.set', async (tx) => {
    // Within the write: another field may be set at the same time.
    const present = await profiles.of(tx, userId);
    if (value === undefined) await profiles.remove(tx, userId, keyName);
    else {
      const size = Buffer.byteLength(JSON.stringify({ ...present, [keyName]: value }));
      if (size > MAX_PROFILE_BYTES) throw profileTooLarge();
      await profiles.set(tx, userId, keyName, value);
    }
    return present;
  });
  const isShown = keyName === 'displayname' || keyName === 'avatar_url';
  if (isShown && own(before, keyName) !== value) await showInRooms(ctx, userId);
}
