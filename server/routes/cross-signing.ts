/** https://spec.matrix.org/v1.19/client-server-api/#cross-signing */

import type { FastifyInstance } from 'fastify';
import { forbidden, invalidSignature, missingParam } from '#federation/errors.ts';
import type { JsonObject } from '#keys/json.ts';
import { confirmReset } from '../auth/confirm-reset.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { uploadSignatures } from '../e2ee-keys/key-signatures.ts';
import { parseSigningKeys, storeSigningKeys } from '../e2ee-keys/signing-keys.ts';

const BODY_LIMIT = 1024 * 1024;

/** The cross-signing keys of a user, and signatures on keys. */
export function crossSigningRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post('/_matrix/client/v3/keys/device_signing/upload', async (request): Promise<JsonObject> => {
    const requester = await requireRequester(ctx, request);
    ctx.limits.take('keys', requester.userId);
    const body = bodyObject(request);
    const keys = parseSigningKeys(body, requester.userId);
    // "MUST NOT require User-Interactive Authentication when used by an application service, even if cross-signing keys
    // already exist."
    const isConfirmed = requester.appservice !== undefined;
    const first = await storeSigningKeys(ctx, requester.userId, { keys, isConfirmed });
    if (first !== 'not_confirmed') return answerTo(first);
    const finish = await confirmReset(ctx, body, { requester, address: request.ip });
    const answer = answerTo(await storeSigningKeys(ctx, requester.userId, { keys, isConfirmed: true }));
    await finish();
    return answer;
  });

  app.post('/_matrix/client/v3/keys/signatures/upload', { bodyLimit: BODY_LIMIT }, async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('keys', userId);
    return { failures: await uploadSignatures(ctx, userId, bodyObject(request)) };
  });
}

function answerTo(outcome: Awaited<ReturnType<typeof storeSigningKeys>>): JsonObject {
  switch (outcome) {
    case 'stored':
      return {};
    case 'no_master_key':
      throw missingParam('master_key');
    case 'bad_signature':
      throw invalidSignature('A key is not signed by the master key');
    case 'id_in_use':
      throw forbidden('The public key is the ID of a device');
    case 'not_confirmed':
      throw forbidden('The keys were replaced meanwhile');
  }
}
