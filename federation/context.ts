import type { RoomAlias, RoomId, ServerName, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import type { Tx } from '#storage/database.ts';
import type { Presences } from '#storage/presences.ts';
import type { TypingUsers } from '#storage/typing.ts';
import type { Backoff } from './backoff.ts';
import type { FederationClient } from './client.ts';
import type { Callers } from './doctor/callers.ts';
import type { OwnKeys } from './e2ee-keys/device-lists-own.ts';
import type { Claim, ClaimedKey } from './e2ee-keys/key-claims.ts';
import type { Network } from './network/network.ts';
import type { ServerResolver } from './network/resolve.ts';
import type { PartnerRegistry } from './partners/registry.ts';
import type { OwnPolicyServer } from './policy/own-policy.ts';

/** What the functions of `federation/` take first. */
export interface FederationContext extends RoomsContext {
  readonly client: FederationClient;
  readonly resolver: ServerResolver;
  readonly backoff: Backoff;
  readonly network: Network;
  /** Who has called, and when. */
  readonly callers: Callers;
  /** Whom we talk to, and what they can do. */
  readonly partners: PartnerRegistry;
  readonly typing: TypingUsers;
  readonly presence: Presences;
  /** Delivers to other servers what happens here. */
  readonly sender: Outbound;
  /** Receives what other servers hand over. */
  readonly inbound: Inbound;
  /** Undefined where this server is no policy server. */
  readonly ownPolicy?: OwnPolicyServer | undefined;
  readonly federation: FederationSettings;
  /** What application services make when they are asked for it; undefined before a server runs. */
  readonly bridged?: Bridged;
  /** Undefined before a server runs. */
  readonly bridgedKeys?: BridgedKeys;
  /** As `bridged`: throws 403 where a room of an application service holds no more members (`server/appservices/restraint.ts`). */
  readonly refuseBridgedJoin?: (roomId: RoomId, userId: UserId) => Promise<void>;
  /**
   * How a server that was away is brought up to date: by every event in order (`full`), or, where it missed many, by
   * the newest of each room, from which it fetches the rest (`latest`, the default).
   */
  readonly replayOf?: (server: ServerName) => 'full' | 'latest';
}

/** Asks application services for what is unknown here (`server/appservices/query.ts`). */
export interface Bridged {
  /** True where the user is there now. */
  user(userId: UserId): Promise<boolean>;
  /** True where the alias is there now. */
  alias(alias: RoomAlias): Promise<boolean>;
}

/** Keys of devices that application services keep to themselves (`server/appservices/keys.ts`). Nothing here throws. */
export interface BridgedKeys {
  /** True for users of whom a service is asked for one-time keys: MSC3983. */
  givesKeysOf(userId: UserId): boolean;
  /** What the services give; what they do not give is left out. */
  claim(claims: readonly Claim[]): Promise<readonly ClaimedKey[]>;
  /** True for users of whose devices a service is asked: MSC3984. */
  knowsDevicesOf(userId: UserId): boolean;
  /** What the services say of users' devices, of all of which an empty list asks. */
  query(wanted: ReadonlyMap<UserId, readonly string[]>): Promise<ReadonlyMap<UserId, OwnKeys>>;
}

/** An EDU that is queued. */
export interface OutgoingEdu {
  /** `{ edu_type, content }` */
  readonly edu: JsonObject;
  /**
   * A later EDU with the same key takes the place of this one where it has not been sent yet: for what holds only the
   * newest state, such as `presence @a:b`.
   */
  readonly replaceKey?: string;
}

/** What the rest of the server asks of the sender (`outbound/sender.ts`). */
export interface Outbound {
  /** Sends now what waits for `server`, unless its back-off lasts: a sign of life ends that (`Backoff.succeeded`). */
  wake(server: ServerName): void;
  /** As `wake`, whatever the back-off says: somebody has seen to it that the server takes things again. */
  retry(server: ServerName): void;
  /**
   * Queues an EDU that must arrive, however long the servers are away, within the write of what it tells: our own
   * name among the servers is passed over. Order is kept for each server.
   */
  enqueueEdu(tx: Tx, servers: Iterable<ServerName>, edu: OutgoingEdu): Promise<void>;
}

/** What the rest of the server asks of the stage (`inbound/stage.ts`). */
export interface Inbound {
  /** True where so many events wait for the room that no more are taken for now. */
  isFull(roomId: RoomId): boolean;
  /** Puts the events of a transaction and its answer (JSON) on disk, and begins to receive them. */
  stage(transaction: {
    readonly origin: ServerName;
    readonly txnId: string;
    readonly answer: string;
    readonly events: readonly VerifiedEvent[];
    /** What nobody could be asked the keys of: it is postponed. */
    readonly unverified: readonly Event[];
    /** The write of what else there is of the transaction: on disk before the answer is. */
    readonly beside: Promise<void> | undefined;
  }): Promise<void>;
}

export interface FederationSettings {
  /** Of this software, as `/_matrix/federation/v1/version` says it. */
  readonly version: string;
  /** `host:port` for `/.well-known/matrix/server`; undefined where the server name is not delegated. */
  readonly publicAddress: string | undefined;
  /** True where other servers learn the names that our users have given their devices. */
  readonly tellsDeviceNames: boolean;
}
