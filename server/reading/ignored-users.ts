import type { UserId } from '#keys/ids.ts';
import { objectAt } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import * as accountData from '#storage/account-data.ts';
import type { Reader } from '#storage/database.ts';

/** One for the many who ignore nobody. */
const NOBODY: ReadonlySet<string> = new Set();

/** Whom a user ignores: https://spec.matrix.org/v1.19/client-server-api/#ignoring-users */
export async function ignoredBy(reader: Reader, userId: UserId): Promise<ReadonlySet<string>> {
  const key = { userId, roomId: '', type: 'm.ignored_user_list' } as const;
  const list = await accountData.get(reader, key);
  const ignored = new Set(Object.keys((list && objectAt(list, 'ignored_users')) ?? {}));
  ignored.delete(userId);
  return ignored.size === 0 ? NOBODY : ignored;
}

/** False for what an ignored user says. "State events will still be sent to the client, even if the user is ignored." */
export function isFromOthers(
  { sender, stateKey }: Pick<Event, 'sender' | 'stateKey'>,
  ignored: ReadonlySet<string>,
): boolean {
  return stateKey !== undefined || !ignored.has(sender);
}
