import { type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import type { Json, JsonObject } from '#keys/json.ts';
import { Lru } from '#storage/lru.ts';
import type { FederationContext } from './context.ts';
import { queryProfile } from './remote/queries.ts';

export type RemoteProfile =
  | { readonly kind: 'ok'; readonly profile: JsonObject }
  | { readonly kind: 'not_found' | 'forbidden' | 'unreachable' };

const FRESH_MS = 5 * 60_000;
const MOST_PROFILES = 1_000;
/** "The profile key names must be no more than 255 bytes", "profile size must be no more than 64 KiB". */
const MAX_KEY_BYTES = 255;
const MAX_PROFILE_BYTES = 64 * 1024;

type ProfileContext = Pick<FederationContext, 'client' | 'clock' | 'rooms'>;

const caches = new WeakMap<
  ProfileContext['rooms'],
  Lru<UserId, { readonly ts: number; readonly answer: Promise<RemoteProfile> }>
>();

/**
 * The profile of a user of another server, as that server says it, five minutes old at most. `displayname`,
 * `avatar_url` and `m.tz` are strings if they are there at all.
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
  return { kind: 'ok', profile: cleaned(answer.value) };
}

/** Without fields that are not set ("or give it the value `null`"), malformed, or more than a profile can hold. */
function cleaned(told: JsonObject): JsonObject {
  const profile: [string, Json][] = [];
  let bytes = 0;
  for (const [key, value] of Object.entries(told)) {
    const isText = key === 'displayname' || key === 'avatar_url' || key === 'm.tz';
    if (value === null || (isText && typeof value !== 'string')) continue;
    if (Buffer.byteLength(key) > MAX_KEY_BYTES) continue;
    const size = Buffer.byteLength(key) + Buffer.byteLength(JSON.stringify(value));
    if (bytes + size > MAX_PROFILE_BYTES) continue;
    bytes += size;
    profile.push([key, value]);
  }
  return Object.fromEntries(profile);
}
