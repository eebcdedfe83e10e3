import { Backoff } from '#federation/backoff.ts';
import { PartnerRegistry } from '#federation/partners/registry.ts';
import type { JsonObject } from '#keys/json.ts';
import { loadSigningKey, SigningKeyError } from '#keys/signing-key.ts';
import { RoomCache } from '#rooms/room-cache.ts';
import { openSqliteReadOnly } from '#storage/sqlite.ts';
import { partnerSettings } from '../config/partner-option.ts';
import type { Config } from '../config-options.ts';
import { openNetwork } from '../federation-context.ts';
import { askServer } from './control-line.ts';
import { databasePath } from './database.ts';
import { performChecks } from './federation-check.ts';
import { signingKeyPath } from './keys-operations.ts';
import type { Outcome } from './operations.ts';

/** A check asks several servers, each of which may say nothing for long. */
const ANSWER_WITHIN_MS = 90_000;

/** Goes the whole way to another server, and says what is wrong with it. */
export function checkFederation(config: Config, server: string): Promise<Outcome> {
  return check(config, { operation: 'federation.check', server });
}

/** Says whether the signing key is kept as it should be, and published as others see it. */
export function checkKeys(config: Config): Promise<Outcome> {
  return check(config, { operation: 'keys.check' });
}

/** By the running server where there is one, else with its key and its database, which is only read. */
async function check(config: Config, operation: JsonObject): Promise<Outcome> {
  const answer = await askServer(config.dataDir, operation, ANSWER_WITHIN_MS);
  if (answer !== undefined) return answer;
  await using db = await openSqliteReadOnly(databasePath(config));
  const path = signingKeyPath(config.dataDir);
  const signingKey = await loadSigningKey(path);
  if (signingKey === undefined) throw new SigningKeyError(`signing key ${path}: there is none yet`);
  const clock = { now: () => Date.now() };
  const settings = await partnerSettings(config);
  const ctx = {
    ...{ config, serverName: config.serverName, signingKey, db, clock, rooms: new RoomCache() },
    network: await openNetwork(config, await PartnerRegistry.open({ db, clock, settings })),
    backoff: new Backoff({ db, clock }),
  };
  return (
    (await performChecks(ctx, operation)) ?? { kind: 'refused', problem: 'the command is not understood' }
  );
}
