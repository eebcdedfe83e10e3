import type { FastifyInstance } from 'fastify';
import type { JsonObject } from '#keys/json.ts';
import { buildServerKeyDocument } from '#keys/server-key-document.ts';
import type { FederationContext } from '../context.ts';

const VALIDITY_MS = 24 * 60 * 60_000;
const RENEWAL_MS = 60 * 60_000;

type KeysContext = Pick<FederationContext, 'serverName' | 'signingKey' | 'clock'>;

/** `GET /_matrix/key/v2/server`: https://spec.matrix.org/v1.19/server-server-api/#publishing-keys */
export function keysServerRoutes(app: FastifyInstance, ctx: KeysContext): void {
  const ownDocument = ownKeyDocument(ctx);
  app.get('/_matrix/key/v2/server', async () => ownDocument());
  // "Deprecated": servers older than v1.1 of the specification name a key.
  app.get('/_matrix/key/v2/server/', async () => ownDocument());
  app.get('/_matrix/key/v2/server/:keyId', async () => ownDocument());
}

/** Our own key document, valid for a day, signed anew each hour. */
export function ownKeyDocument(ctx: KeysContext): () => JsonObject {
  let document: JsonObject = {};
  let renewTs = 0;
  return () => {
    const now = ctx.clock.now();
    if (now < renewTs && renewTs <= now + RENEWAL_MS) return document;
    const { serverName, signingKey } = ctx;
    document = buildServerKeyDocument({ serverName, signingKey, validUntilTs: now + VALIDITY_MS });
    renewTs = now + RENEWAL_MS;
    return document;
  };
}
