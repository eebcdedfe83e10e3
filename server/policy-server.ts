import { join } from 'node:path';
import { OwnPolicyServer } from '#federation/policy/own-policy.ts';
import { PolicyRules } from '#federation/policy/rules.ts';
import { loadOrCreateSigningKey } from '#keys/signing-key.ts';
import type { Config } from './config-options.ts';

const FILE = 'policy.key';

/** This server as a policy server, with a key of its own in the data folder; undefined where it is none. */
export async function openPolicyServer(config: Config): Promise<OwnPolicyServer | undefined> {
  if (!config.policyServer) return undefined;
  const { keyPair } = await loadOrCreateSigningKey(join(config.dataDir, FILE));
  return new OwnPolicyServer({ serverName: config.serverName, key: keyPair, rules: new PolicyRules(config) });
}
