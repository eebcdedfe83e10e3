/** A request of sliding sync, by whichever path it came. */

import type { RoomId } from '#keys/ids.ts';
import type { Lru } from '#storage/lru.ts';
import type { PresenceState } from '#storage/presences.ts';
import type { Requester } from '../auth/requester.ts';
import type { CombinedConfig, RoomConfig } from './required-state.ts';

/**
 * `experimental`: what clients of today speak, `org.matrix.simplified_msc3575`. `stable`: `/v4/sync`, as MSC4186 was
 * merged. They differ in names and in a few members.
 */
export type Face = 'experimental' | 'stable';

/** Both inclusive, from 0. */
export type Range = readonly [first: number, last: number];

/** Which rooms are in a list. Undefined members do not restrict anything. */
export interface RoomFilters {
  readonly isDm: boolean | undefined;
  readonly spaces: readonly RoomId[] | undefined;
  readonly isEncrypted: boolean | undefined;
  readonly isInvited: boolean | undefined;
  readonly roomTypes: readonly (string | null)[] | undefined;
  readonly notRoomTypes: readonly (string | null)[];
  readonly tags: readonly string[] | undefined;
  readonly notTags: readonly string[];
  /** In lower case. */
  readonly roomNameLike: string | undefined;
}

export interface ListConfig extends RoomConfig {
  /** Undefined: all rooms of the list. */
  readonly ranges: readonly Range[] | undefined;
  /** Undefined where no room is left out. */
  readonly filters: RoomFilters | undefined;
}

/** For which rooms an extension is asked. Undefined: for all lists, or all subscriptions. */
export interface ExtensionScope {
  readonly lists: ReadonlySet<string> | undefined;
  readonly rooms: ReadonlySet<string> | undefined;
}

/** What does not change from one request of a client to the next, mostly. */
export interface RoomRequest {
  readonly lists: ReadonlyMap<string, ListConfig>;
  readonly subscriptions: ReadonlyMap<RoomId, RoomConfig>;
  /** Each undefined where it is not enabled. */
  readonly accountData: ExtensionScope | undefined;
  readonly receipts: ExtensionScope | undefined;
  readonly typing: ExtensionScope | undefined;
  /** The same for the same request. */
  readonly signature: string;
  /** The combined configs of rooms that were found by it, by their lists and subscriptions. */
  readonly configs: Lru<string, CombinedConfig>;
}

/** What a body asks for, whoever sends it. */
export interface SlidingBody {
  readonly connId: string;
  readonly pos: string | undefined;
  readonly timeoutMs: number;
  readonly presence: PresenceState;
  readonly rooms: RoomRequest;
  /** Each undefined where it is not enabled. */
  readonly toDevice: { readonly since: number; readonly limit: number } | undefined;
  readonly e2ee: boolean;
  readonly stickyEvents: { readonly since: number; readonly limit: number } | undefined;
  readonly threadSubscriptions: { readonly limit: number } | undefined;
}

export interface SlidingRequest extends SlidingBody {
  readonly requester: Requester;
  readonly face: Face;
}
