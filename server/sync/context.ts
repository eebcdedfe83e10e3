import type { AccountData } from '#storage/account-data.ts';
import { Lru } from '#storage/lru.ts';
import type { Requester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { Filters, type SyncFilter } from './filter.ts';
import { Inboxes } from './inboxes.ts';
import { JoinedMembers } from './joined-members.ts';
import { SentMembers } from './lazy-members.ts';
import { MemberEvents } from './member-events.ts';
import { RecentTimelines } from './recent-timelines.ts';
import { type JoinedRoom, type SyncUser, SyncUsers } from './sync-users.ts';
import { WatchedUsers } from './watched-users.ts';

/** What the parts of /sync take first: the server, and what they keep in memory between two requests. */
export interface SyncContext {
  readonly server: ServerContext;
  readonly filters: Filters;
  /** How many requests were answered without the framework (`direct-sync.ts`). */
  readonly answered: { direct: number };
  readonly inboxes: Inboxes;
  /** By `deviceKey`: how many keys are left, as JSON, and up to where that is known. */
  readonly keyCounts: Lru<string, { readonly json: string; readonly asOf: number }>;
  /** The same text for all devices that have as many keys left. */
  readonly keyTexts: Lru<string, string>;
  readonly joinedMembers: JoinedMembers;
  readonly memberEvents: MemberEvents;
  readonly sentMembers: SentMembers;
  readonly timelines: RecentTimelines;
  readonly users: SyncUsers;
  readonly watched: WatchedUsers;
}

/** What one /sync asks for. */
export interface SyncRequest {
  readonly requester: Requester;
  /** Undefined for an initial sync. */
  readonly since: number | undefined;
  /** Where the device's inbox continues. */
  readonly inbox: number;
  readonly filter: SyncFilter;
  readonly fullState: boolean;
  /** `state` of the start of the timeline, or one of the names for the state after it. */
  readonly stateMember: 'state' | 'state_after' | 'org.matrix.msc4222.state_after';
}

/** One answer: for whom, what was asked, and up to where it goes. */
export interface SyncAnswer {
  readonly request: SyncRequest;
  readonly user: SyncUser;
  readonly upto: number;
  /** The rooms that the user is in where there may be something new; all of them in an initial sync. */
  readonly news: Iterable<JoinedRoom>;
  /** The user's account data that changed since the last answer, or all of it, by room id. */
  readonly roomAccountData: ReadonlyMap<string, readonly AccountData[]>;
}

/** Everything of /sync for one server, the same for whoever asks: what is in memory is for all kinds of sync. */
export function syncContextOf(server: ServerContext): SyncContext {
  const known = contexts.get(server) ?? createSyncContext(server);
  contexts.set(server, known);
  return known;
}

const contexts = new WeakMap<ServerContext, SyncContext>();

function createSyncContext(server: ServerContext): SyncContext {
  const watched = new WatchedUsers(server.presence);
  return {
    server,
    filters: new Filters(),
    answered: { direct: 0 },
    inboxes: new Inboxes(),
    keyCounts: new Lru({ maxEntries: 20_000 }),
    keyTexts: new Lru({ maxEntries: 1_000 }),
    joinedMembers: new JoinedMembers(server, watched),
    memberEvents: new MemberEvents(server),
    sentMembers: new SentMembers(),
    timelines: new RecentTimelines(server),
    users: new SyncUsers(server),
    watched,
  };
}
