/** `PUT v1/send`: https://spec.matrix.org/v1.19/server-server-api/#transactions */

import { type EventId, isEventId, type ServerName } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, objectAt, own } from '#keys/json.ts';
import { type Remote, readObject } from './answer.ts';
import { encode, FEDERATION, MAX_SMALL_BYTES, type RemoteContext, type RemoteOptions } from './request.ts';

/** A transaction may take the other server long: it must have it on disk before it answers. */
const TRANSACTION_TIMEOUT_MS = 60_000;

/** The answer to a transaction. */
export interface TransactionAnswer {
  /** What the server says of the events that it did not accept. */
  readonly errors: ReadonlyMap<EventId, string>;
  /** The server's time in milliseconds since 1970, where it says it. */
  readonly serverTs: number | undefined;
}

/** `PUT v1/send`: `body` is the canonical JSON of the transaction. Neither consults nor moves the back-off. */
export async function sendTransaction(
  ctx: RemoteContext,
  server: ServerName,
  transaction: { txnId: string; body: string },
  options: RemoteOptions = {},
): Promise<Remote<TransactionAnswer>> {
  const { txnId, body } = transaction;
  const answer = await ctx.client.request({
    server,
    method: 'PUT',
    path: `${FEDERATION}/v1/send/${encode(txnId)}`,
    body,
    maxBytes: MAX_SMALL_BYTES,
    timeoutMs: TRANSACTION_TIMEOUT_MS,
    backoff: 'caller',
    ...options,
  });
  const serverTs = answer.kind === 'ok' ? answer.serverTs : undefined;
  return readObject(answer, (result) => {
    // "Required": what answers 200 without it has perhaps not even looked at what was sent.
    const pdus = objectAt(result, 'pdus');
    return pdus === undefined ? undefined : { errors: errorsOf(pdus), serverTs };
  });
}

function errorsOf(results: JsonObject): ReadonlyMap<EventId, string> {
  const errors = new Map<EventId, string>();
  for (const [eventId, result] of Object.entries(results)) {
    const error: Json | undefined = isObject(result) ? own(result, 'error') : undefined;
    if (isEventId(eventId) && typeof error === 'string') errors.set(eventId, error.slice(0, 500));
  }
  return errors;
}
