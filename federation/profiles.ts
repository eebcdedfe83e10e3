import { type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import { Lru } from '#storage/lru.ts';
import type { FederationContext } from './context.ts';
import { queryProfile } from './remote/queries.ts';

export type RemoteProfile =
  | { readonly kind: 'ok'; readonly profile: JsonObject }
  | { readonly kind: 'not_found' | 'forbidden' | 'unreachable' };

const FRESH_MS = 5 * 60_000;
const MOST_PROFILES = 1_000;

type ProfileContext = Pick<FederationContext, 'client' | 'clock' | 'rooms'>;

const caches = new WeakMap<
  ProfileContext['rooms'],
  Lru<UserId, { readonly ts: number; readonly answer: Promise<RemoteProfile> }>
>();

/**
 * The profile of a user of another server, as that server says it, five minutes old at most. `displayname` and
 * `avatar_url` are strings if they are there at all.
 */
export function remoteProfile(ctx: ProfileContext, userId: UserId): Promise<RemoteProfile> {
  const server = serverNameOf(userId);
  if (server === undefined) return Promise.resolve({ kind: 'not_found' });
  const cache = caches.get(ctx.rooms) ?? new Lru({ maxEntries: MOST_PROFILES });
  caches.set(ctx.rooms, cache);
  const now = ctx.clock.now();
  const known = cache.get(userId);
  if (known !== undefined && now - known.ts < FRESH_MS) return known.answer;
  const answer = ask(ctx, server, userId);
  cache.set(userId, { ts: now, answer });
  // Whoever does not answer now may answer the next time.
  answer.then(
    ({ kind }) => kind === 'unreachable' && cache.delete(userId),
    () => cache.delete(userId),
  );
  return answer;
}

async function ask(ctx: ProfileContext, server: ServerName, userId: UserId): Promise<RemoteProfile> {
  const answer = await queryProfile(ctx, server, { userId });
  if (answer.kind === 'failed') {
    if (answer.status === 404) return { kind: 'not_found' };
    return { kind: answer.status === 403 ? 'forbidden' : 'unreachable' };
  }
  const { displayname: _, avatar_url: __, ...others } = answer.value;
  const displayname = stringAt(answer.value, 'displayname');
  const avatarUrl = stringAt(answer.value, 'avatar_url');
  const profile = {
    ...others,
    ...(displayname !== undefined && { displayname }),
    ...(avatarUrl !== undefined && { avatar_url: avatarUrl }),
  };
  return { kind: 'ok', profile };
}
