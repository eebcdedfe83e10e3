/** Whom a user finds by what they typed. */

import { belongsTo, serverNameOf, type UserId } from '#keys/ids.ts';
import { wordsOf } from '#keys/words.ts';
import * as directoryWords from '#storage/directory-words.ts';
import * as userDirectory from '#storage/user-directory.ts';
import type { ServerContext } from '../context.ts';

export interface FoundUsers {
  readonly users: readonly userDirectory.NamedUser[];
  /** True where there are more. */
  readonly isCut: boolean;
}

/** What somebody typed. Each word must be the beginning of a word of a user's name or id. */
interface Typed {
  readonly words: readonly string[];
  /** The beginnings of server names, where ids were typed: `@alice:exam`. */
  readonly servers: readonly string[];
}

/** Users that are compared with all that was typed. */
const MOST_COMPARED = 300;
/** How long a search waits for the newest events to come into the directory. */
const KEPT_WITHIN_MS = 2_000;

export async function findUsers(
  ctx: ServerContext,
  userId: UserId,
  term: string,
  limit: number,
): Promise<FoundUsers> {
  const typed = typedIn(term);
  if (typed.words.length === 0) return { users: [], isCut: false };
  await ctx.userDirectory.reached(ctx.streams.upto(), KEPT_WITHIN_MS);
  const { serverName, db } = ctx;
  const searcher = { userId, serverName, findsAllAccounts: ctx.config.userDirectory === 'everyone' };
  const candidates = await userDirectory.find(db, searcher, typed.words, MOST_COMPARED);
  const ofServers = candidates.filter((candidate) => isOfServers(candidate, typed.servers));
  const ours = ofServers.filter((candidate) => belongsTo(candidate, serverName));
  const others = ofServers.filter((candidate) => !belongsTo(candidate, serverName));
  const named = [
    ...(await userDirectory.accountsAmong(db, ours)),
    ...(await userDirectory.namesInRooms(db, searcher, others)),
  ];
  const best = bestNames(named, typed).toSorted(
    (a, b) => b.rank - a.rank || (a.user.userId < b.user.userId ? -1 : 1),
  );
  const users = best.slice(0, limit).map(({ user }) => user);
  return { users, isCut: best.length > limit || candidates.length === MOST_COMPARED };
}

function typedIn(term: string): Typed {
  const words: string[] = [];
  const servers: string[] = [];
  for (const piece of term.split(/\s+/)) {
    const colon = piece.indexOf(':');
    words.push(...wordsOf(colon < 0 ? piece : piece.slice(0, colon)));
    if (colon >= 0) servers.push(piece.slice(colon + 1).toLowerCase());
  }
  return { words, servers };
}

function isOfServers(userId: UserId, servers: readonly string[]): boolean {
  const server = serverNameOf(userId)?.toLowerCase() ?? '';
  return servers.every((beginning) => server.startsWith(beginning));
}

interface RankedUser {
  readonly user: userDirectory.NamedUser;
  readonly rank: number;
}

/** Of each user the name that fits best, of names that fit as well the first; without those whom nothing fits. */
function bestNames(named: readonly userDirectory.NamedUser[], typed: Typed): RankedUser[] {
  const best = new Map<UserId, RankedUser>();
  for (const user of named) {
    const rank = rankOf(user, typed);
    if (rank === undefined || rank <= (best.get(user.userId)?.rank ?? -1)) continue;
    best.set(user.userId, { user, rank });
  }
  return [...best.values()];
}

/**
 * "Ordered by rank and then whether or not profile info is available": before all whose whole name it is, then by how
 * many words are whole.
 */
function rankOf(
  { userId, displayName, avatarUrl }: userDirectory.NamedUser,
  { words }: Typed,
): number | undefined {
  const ofName = displayName === undefined ? [] : wordsOf(displayName);
  const ofId = directoryWords.idWords(userId);
  const own = [...ofName, ...ofId];
  if (!words.every((word) => own.some((whole) => whole.startsWith(word)))) return undefined;
  const whole = words.filter((word) => own.includes(word)).length;
  const typed = words.join(' ');
  const isAll = ofName.join(' ') === typed || ofId.join(' ') === typed;
  const hasProfile = displayName !== undefined || avatarUrl !== undefined;
  return (isAll ? 1_000 : 0) + 2 * whole + (hasProfile ? 1 : 0);
}
