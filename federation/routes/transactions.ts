import type { FastifyInstance } from 'fastify';
import { splitArrayAt } from '#keys/canonical-json.ts';
import { isObject, own } from '#keys/json.ts';
import { KeyedQueue } from '#storage/locks.ts';
import { authenticateOrigin } from '../auth.ts';
import type { FederationContext } from '../context.ts';
import { badJson, forbidden, invalidParam, limitExceeded } from '../errors.ts';
import { type InboundTransaction, receiveTransaction } from '../inbound/transaction.ts';

/** "Must not include more than 50 PDUs" and "more than 100 EDUs". */
const MAX_PDUS = 50;
const MAX_EDUS = 100;
/** "The sending server must wait and retry for a 200 OK response before sending a transaction with a different txnId." */
const MOST_WAITING = 3;
const MAX_TXN_ID = 255;
const BUSY_RETRY_MS = 10_000;

/** `PUT /_matrix/federation/v1/send/{txnId}`: https://spec.matrix.org/v1.19/server-server-api/#transactions */
export function transactionsRoutes(app: FastifyInstance, ctx: FederationContext): void {
  const preHandler = authenticateOrigin(ctx);
  // One at a time for each server: one that comes twice at the same time is answered from the first.
  const turns = new KeyedQueue({ maxWaiting: MOST_WAITING });
  app.put<{ Params: { txnId: string } }>(
    '/_matrix/federation/v1/send/:txnId',
    { preHandler },
    async (request, reply) => {
      const { origin, rawBody, body } = request;
      const transaction = transactionOf({ origin, txnId: request.params.txnId, rawBody, body });
      const result = await turns.run(origin, () => receiveTransaction(ctx, transaction));
      if (result.kind === 'busy') throw limitExceeded(BUSY_RETRY_MS);
      return reply.type('application/json').send(result.answer);
    },
  );
}

function transactionOf(request: {
  readonly origin: string;
  readonly txnId: string;
  readonly rawBody: Buffer;
  readonly body: unknown;
}): InboundTransaction {
  const { origin, txnId, rawBody, body } = request;
  if (txnId.length > MAX_TXN_ID) throw invalidParam('The transaction id is too long');
  if (!isObject(body)) throw badJson('The body is not an object');
  if (Object.hasOwn(body, 'origin') && own(body, 'origin') !== origin) {
    throw forbidden('The origin of the transaction is not the server that sends it');
  }
  // What was sent, not what was parsed: hashes and signatures are those of the text.
  const texts = Object.hasOwn(body, 'pdus') ? splitArrayAt(rawBody.toString(), 'pdus') : [];
  const edus = own(body, 'edus') ?? [];
  const values = own(body, 'pdus') ?? [];
  if (texts === undefined || !Array.isArray(values)) throw badJson('pdus is not an array');
  if (!Array.isArray(edus)) throw badJson('edus is not an array');
  if (texts.length > MAX_PDUS) throw badJson(`More than ${MAX_PDUS} PDUs`);
  if (edus.length > MAX_EDUS) throw badJson(`More than ${MAX_EDUS} EDUs`);
  return { origin, txnId, pdus: texts.map((text, index) => ({ text, value: values[index] })), edus };
}
