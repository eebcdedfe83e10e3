import type { RoomId, ServerName } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import type { TypingUsers } from '#storage/typing.ts';
import type { Backoff } from './backoff.ts';
import type { FederationClient } from './client.ts';
import type { ServerResolver } from './resolve.ts';

/** What the functions of `federation/` take first. */
export interface FederationContext extends RoomsContext {
  readonly client: FederationClient;
  readonly resolver: ServerResolver;
  readonly backoff: Backoff;
  readonly typing: TypingUsers;
  /** Delivers to other servers what happens here. */
  readonly sender: Outbound;
  /** Receives what other servers hand over. */
  readonly inbound: Inbound;
  readonly federation: FederationSettings;
}

/** What the rest of the server asks of the sender (`outbound/sender.ts`). */
export interface Outbound {
  /** Sends now what waits for `server`, unless its back-off lasts: a sign of life ends that (`Backoff.succeeded`). */
  wake(server: ServerName): void;
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
  }): Promise<void>;
}

export interface FederationSettings {
  /** Of this software, as `/_matrix/federation/v1/version` says it. */
  readonly version: string;
  /** `host:port` for `/.well-known/matrix/server`; undefined where the server name is not delegated. */
  readonly publicAddress: string | undefined;
}
