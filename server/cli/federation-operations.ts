/** What the operator's command does about other servers: by the running server, or on its database. */

import { requeue } from '#federation/outbound/outbox.ts';
import { isServerName, type ServerName } from '#keys/ids.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import type { Database } from '#storage/database.ts';
import * as destinations from '#storage/destinations.ts';
import type { Outcome } from './operations.ts';

export interface FederationOperationContext {
  readonly db: Database;
  /** Sends at once what is queued; undefined where no server runs. */
  readonly retry?: (server: ServerName) => void;
}

/** Does one thing: `{"operation": "federation.resend", ...}`; undefined for what is none of these. */
export async function performOnFederation(
  ctx: FederationOperationContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  if (own(operation, 'operation') !== 'federation.resend') return undefined;
  return resend(ctx, stringAt(operation, 'server') ?? '');
}

/** Queues again what was set aside for a server. */
async function resend({ db, retry }: FederationOperationContext, server: string): Promise<Outcome> {
  if (!isServerName(server) || (await destinations.of(db, server)) === undefined) {
    return { kind: 'refused', problem: `nothing was ever sent to ${server}: see "federation status"` };
  }
  const { events, edus } = await db.write('federation.resend', (tx) => requeue(tx, server));
  retry?.(server);
  if (events + edus === 0) return { kind: 'done', lines: [`Nothing is set aside for ${server}.`] };
  const when = retry === undefined ? 'when the server starts' : 'now';
  return {
    kind: 'done',
    lines: [`${events} events and ${edus} other messages are sent to ${server} again ${when}.`],
  };
}
