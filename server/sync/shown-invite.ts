import type { RoomsContext } from '#rooms/context.ts';
import { loadNid } from '#rooms/load.ts';
import type { SyncUser } from './sync-users.ts';

type OtherRoom = SyncUser['others'][number];

/** "Servers must not send room invites from ignored users to clients", nor any that the user does not want. */
export async function isShownTo(
  ctx: RoomsContext,
  user: SyncUser,
  other: Pick<OtherRoom, 'membership' | 'eventNid'>,
): Promise<boolean> {
  const { membership, eventNid } = other;
  if (membership !== 'invite' && membership !== 'knock') return true;
  const allowsAll = membership === 'knock' || user.invites.allowsAll;
  if (user.ignored.size === 0 && allowsAll) return true;
  const sender = (await loadNid(ctx, eventNid))?.event.sender;
  if (sender === undefined) return allowsAll;
  return !user.ignored.has(sender) && (allowsAll || user.invites.of(sender) === 'allow');
}
