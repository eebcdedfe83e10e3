/** What the endpoints of other servers have in common: paths, limits, and how long somebody waits. */

import type { ServerName } from '#keys/ids.ts';
import type { FederationClient, FederationRequest } from '../client.ts';

export interface RemoteOptions {
  readonly signal?: AbortSignal;
  /** For the whole request, in milliseconds. */
  readonly timeoutMs?: number;
  /** What becomes of it for the server's back-off; see `FederationRequest`. */
  readonly backoff?: NonNullable<FederationRequest['backoff']>;
}

export interface RemoteContext {
  readonly client: FederationClient;
}

export const FEDERATION = '/_matrix/federation';
export const HANDSHAKE_TIMEOUT_MS = 30_000;
export const QUERY_TIMEOUT_MS = 10_000;
export const MAX_SMALL_BYTES = 1024 * 1024;
const STATE_MAX_BYTES = 256 * 1024 * 1024;
const STATE_TIMEOUT_MS = 120_000;

/** Somebody waits for the outcome: the server is asked even while it is left alone. */
export const WAITED_FOR = { backoff: 'ignore' } as const;

/** A question with a short answer. */
export function smallQuery(
  server: ServerName,
  path: string,
  query: FederationRequest['query'] & object,
): FederationRequest {
  return { server, method: 'GET', path, query, timeoutMs: QUERY_TIMEOUT_MS, maxBytes: MAX_SMALL_BYTES };
}

/** For answers that may hold the state of a large room. */
export function stateLimits(options: RemoteOptions): RemoteOptions & { maxBytes: number } {
  return { maxBytes: STATE_MAX_BYTES, timeoutMs: STATE_TIMEOUT_MS, ...options };
}

/** A segment of a path. */
export function encode(id: string): string {
  return encodeURIComponent(id);
}
