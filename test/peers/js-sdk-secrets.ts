/** What people do at a client of matrix-js-sdk so that their messages stay theirs: keys, a backup, emoji compared. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AuthDict, MatrixClient, UIAuthCallback } from 'matrix-js-sdk';
import {
  type CryptoApi,
  type CryptoCallbacks,
  CryptoEvent,
  type GeneratedSecretStorageKey,
  type ShowSasCallbacks,
  VerificationPhase,
  type VerificationRequest,
  type Verifier,
  VerifierEvent,
} from 'matrix-js-sdk/lib/crypto-api/index.js';
import { until } from '#test/harness/until.ts';
import type { SdkUser } from './js-sdk-client.ts';

/** The recovery key that a person keeps on paper, and types into each new client. */
export class RecoveryKey {
  #key: Uint8Array<ArrayBuffer> | undefined;

  readonly callbacks: CryptoCallbacks = {
    getSecretStorageKey: async ({ keys }) => {
      const [keyId] = Object.keys(keys);
      return this.#key === undefined || keyId === undefined ? null : [keyId, this.#key];
    },
  };

  write(key: GeneratedSecretStorageKey): void {
    this.#key = key.privateKey;
  }
}

export function cryptoOf(user: SdkUser): CryptoApi {
  const crypto = user.client.getCrypto();
  assert.ok(crypto);
  return crypto;
}

/** On the first device: cross-signing, secret storage by the recovery key, and a backup of the room keys. */
export async function setUpEncryption(user: SdkUser, recovery: RecoveryKey): Promise<void> {
  const crypto = cryptoOf(user);
  await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: withPassword(user) });
  const generated = await crypto.createRecoveryKeyFromPassphrase();
  recovery.write(generated);
  await crypto.bootstrapSecretStorage({
    createSecretStorageKey: async () => generated,
    setupNewKeyBackup: true,
  });
  await until(async () => (await crypto.getActiveSessionBackupVersion()) !== null, 'a backup of the keys');
  assert.ok(await crypto.isCrossSigningReady());
  assert.ok(await crypto.isSecretStorageReady());
}

/** On a new device: proves by the recovery key that it is the user's, and reads the keys of the backup. */
export async function recover(user: SdkUser): Promise<{ imported: number; total: number }> {
  const crypto = cryptoOf(user);
  assert.ok(await crypto.userHasCrossSigningKeys(user.userId, true));
  await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: withPassword(user) });
  await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
  assert.ok(await crypto.checkKeyBackupAndEnable(), 'there is no backup of the keys');
  return crypto.restoreKeyBackup();
}

/** Two devices of a user show the same emoji, and trust each other from then on. */
export async function verifyByEmoji(here: SdkUser, there: SdkUser): Promise<void> {
  const asked = nextRequest(there.client);
  const request = await cryptoOf(here).requestOwnUserVerification();
  const received = await asked;
  await received.accept();
  await until(() => request.phase === VerificationPhase.Ready, 'that the other device is ready');
  const mine = await request.startVerification('m.sas.v1');
  await until(() => received.verifier !== undefined, 'that the other device begins');
  const { verifier: theirs } = received;
  assert.ok(theirs);
  const shown = [emojiOf(mine), emojiOf(theirs)] as const;
  const done = [mine.verify(), theirs.verify()];
  const [one, other] = await Promise.all(shown);
  assert.equal(one.sas.emoji?.length, 7);
  assert.deepEqual(one.sas.emoji, other.sas.emoji);
  await Promise.all([one.confirm(), other.confirm()]);
  await Promise.all(done);
  for (const [seer, seen] of [
    [here, there],
    [there, here],
  ] as const) {
    await until(() => isVerified(seer, seen), 'that the devices trust each other');
  }
}

/** Whether a device has all the secrets by which its user signs. */
export async function hasSecrets(user: SdkUser): Promise<boolean> {
  const { privateKeysCachedLocally: cached } = await cryptoOf(user).getCrossSigningStatus();
  return cached.masterKey && cached.selfSigningKey && cached.userSigningKey;
}

/** Whether a device counts as its user's own, for another device. */
export async function isVerified(seer: SdkUser, seen: SdkUser): Promise<boolean> {
  const deviceId = seen.client.getDeviceId() ?? '';
  const status = await cryptoOf(seer).getDeviceVerificationStatus(seen.userId, deviceId);
  return status?.crossSigningVerified === true;
}

async function nextRequest(client: MatrixClient): Promise<VerificationRequest> {
  const [request] = await once(client as never, CryptoEvent.VerificationRequestReceived);
  return request;
}

async function emojiOf(verifier: Verifier): Promise<ShowSasCallbacks> {
  const [sas] = await once(verifier as never, VerifierEvent.ShowSas);
  return sas;
}

/** Confirms with the password where the server asks for it. */
function withPassword(user: SdkUser): UIAuthCallback<void> {
  return async (request) => {
    try {
      await request(null);
    } catch (error) {
      const { data } = error as { data?: { session?: string } };
      if (data?.session === undefined) throw error;
      const { name } = user;
      const identifier = { type: 'm.id.user', user: name };
      const auth = { type: 'm.login.password', identifier, password: `password of ${name}` };
      await request({ ...auth, session: data.session } satisfies AuthDict);
    }
  };
}
