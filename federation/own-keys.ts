import type { SigningKeyPair } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import { buildServerKeyDocument } from '#keys/server-key-document.ts';
import type { FederationContext } from './context.ts';

const VALIDITY_MS = 24 * 60 * 60_000;
const RENEWAL_MS = 60 * 60_000;

/**
 * Gives our own key document, valid for a day, signed anew each hour and when the key was rotated.
 * https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
 */
export function ownKeyDocument(
  ctx: Pick<FederationContext, 'serverName' | 'signingKey' | 'clock'>,
): () => JsonObject {
  let document: JsonObject = {};
  let signedBy: SigningKeyPair | undefined;
  let renewTs = 0;
  return () => {
    const now = ctx.clock.now();
    const { serverName, signingKey } = ctx;
    const { keyPair } = signingKey;
    // The last: the clock was set back.
    if (keyPair === signedBy && now < renewTs && renewTs <= now + RENEWAL_MS) return document;
    document = buildServerKeyDocument({ serverName, signingKey, validUntilTs: now + VALIDITY_MS });
    signedBy = keyPair;
    renewTs = now + RENEWAL_MS;
    return document;
  };
}
