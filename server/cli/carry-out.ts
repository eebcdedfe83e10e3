import type { JsonObject } from '#keys/json.ts';
import type { Config } from '../config-options.ts';
import { askServer } from './control-line.ts';
import { withDatabase } from './database.ts';
import type { OperationContext, Outcome } from './operations.ts';

/**
 * An operation, by the running server where there is one, within a time in milliseconds; else by `perform` on its
 * database.
 */
export async function carryOut(
  config: Config,
  operation: JsonObject,
  perform: (opened: OperationContext) => Promise<Outcome | undefined>,
  withinMs?: number,
): Promise<Outcome> {
  const answer = await askServer(config.dataDir, operation, withinMs);
  if (answer !== undefined) return answer;
  const outcome = await withDatabase(config, perform);
  return outcome ?? { kind: 'refused', problem: 'the command is not understood' };
}
