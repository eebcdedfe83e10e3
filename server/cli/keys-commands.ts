import { loadSigningKey, type OldKey, SigningKeyError } from '#keys/signing-key.ts';
import type { Config } from '../config-options.ts';
import { carryOut } from './carry-out.ts';
import { performOnKeys, signingKeyPath } from './keys-operations.ts';
import type { Outcome } from './operations.ts';

/** The key that the server signs with, and the old ones, from its file. */
export async function listKeys(config: Config): Promise<Outcome> {
  const path = signingKeyPath(config.dataDir);
  const signingKey = await loadSigningKey(path);
  if (signingKey === undefined) throw new SigningKeyError(`signing key ${path}: there is none yet`);
  const { keyPair, oldKeys } = signingKey;
  const newestFirst = oldKeys.toSorted((a, b) => b.expiredTs - a.expiredTs);
  return {
    kind: 'done',
    lines: [`${keyPair.keyId}  ${keyPair.publicKey}  signs`, ...newestFirst.map(lineOf)],
  };
}

/** Makes a new key, in the running server where there is one, else for the next start. */
export async function rotateKeys(config: Config): Promise<Outcome> {
  const operation = { operation: 'keys.rotate' };
  // Under the lock of the folder: a server that starts meanwhile would read the key that is being replaced.
  return carryOut(config, operation, ({ clock }) => performOnKeys({ config, clock }, operation));
}

function lineOf({ keyId, publicKey, expiredTs }: OldKey): string {
  return `${keyId}  ${publicKey}  until ${new Date(expiredTs).toISOString().slice(0, 16)}Z`;
}
