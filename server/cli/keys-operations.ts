/** What the operator's command does to the signing key of a server. */

import { join } from 'node:path';
import { type JsonObject, own } from '#keys/json.ts';
import {
  type LiveSigningKey,
  rotateSigningKey,
  type SigningKey,
  SigningKeyError,
} from '#keys/signing-key.ts';
import type { Clock, Log } from '#rooms/context.ts';
import type { Outcome } from './operations.ts';

/** Of a running server, or of the folder of one that is stopped: that has no `signingKey` and no log. */
export interface KeysContext {
  readonly config: { readonly dataDir: string };
  readonly clock: Clock;
  readonly signingKey?: LiveSigningKey;
  readonly log?: Log;
}

/**
 * Until the new key is on disk the old one signs: what it signs meanwhile must not be from after its end. A write
 * takes less.
 */
const GRACE_MS = 60_000;

/** The file that holds the key of the server in `dataDir`. */
export function signingKeyPath(dataDir: string): string {
  return join(dataDir, 'signing.key');
}

/** Does one thing: `{"operation": "keys.rotate"}`; undefined for an operation of another kind. */
export async function performOnKeys(ctx: KeysContext, operation: JsonObject): Promise<Outcome | undefined> {
  return own(operation, 'operation') === 'keys.rotate' ? rotate(ctx) : undefined;
}

async function rotate({ config, clock, signingKey, log }: KeysContext): Promise<Outcome> {
  try {
    const next = await rotateSigningKey(signingKeyPath(config.dataDir), clock.now() + GRACE_MS);
    signingKey?.replaceBy(next);
    log?.info({ keyId: next.keyPair.keyId }, 'the signing key was rotated');
    return {
      kind: 'done',
      lines: linesOf(next, signingKey === undefined ? 'when it starts' : 'from now on'),
    };
  } catch (error) {
    if (!(error instanceof SigningKeyError)) throw error;
    return { kind: 'refused', problem: error.message };
  }
}

function linesOf({ keyPair, oldKeys }: SigningKey, when: string): string[] {
  const [before] = oldKeys;
  return [
    `The server signs with ${keyPair.keyId} ${when}.`,
    `${before?.keyId ?? 'The key before'} is published as an old key: what it signed until now stays valid.`,
    'Rocket.Chat servers do not read old keys: they cannot verify events that were signed before, and may refuse',
    'to join rooms with such events or to fetch their history. Tell those partners.',
    'Back up signing.key now: an earlier backup of it cannot sign for this server any more.',
  ];
}
