import { isServerName } from '#keys/ids.ts';
import type { Config } from '../config-options.ts';
import { askServer } from './control-line.ts';
import { withDatabase } from './database.ts';
import { performOnFederation } from './federation-operations.ts';
import type { Outcome } from './operations.ts';
import { UsageError } from './usage.ts';

/** Sends again what was set aside for a server: by the running server where there is one, else when it starts. */
export async function resendTo(config: Config, server: string): Promise<Outcome> {
  if (!isServerName(server)) {
    throw new UsageError(`"${server}" is not the name of a server: such as example.org, or example.org:8448`);
  }
  const operation = { operation: 'federation.resend', server };
  const answer = await askServer(config.dataDir, operation);
  if (answer !== undefined) return answer;
  const done = await withDatabase(config, ({ db }) => performOnFederation({ db }, operation));
  return done ?? { kind: 'refused', problem: 'the command is not understood' };
}
