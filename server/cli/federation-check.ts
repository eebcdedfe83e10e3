/** The operator's checks of the way to other servers and of our own, the same whether the server runs or not. */

import { checkServer } from '#federation/doctor/check-server.ts';
import { diagnose, isAccepted } from '#federation/doctor/diagnose.ts';
import { reportOf } from '#federation/doctor/report.ts';
import { isServerName } from '#keys/ids.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import { checkKeys, type KeysCheckContext } from './keys-check.ts';
import type { Outcome } from './operations.ts';

/**
 * Does one thing: `{"operation": "federation.check", "server": ...}` or `{"operation": "keys.check"}`; undefined for an
 * operation of another kind.
 */
export async function performChecks(
  ctx: KeysCheckContext,
  operation: JsonObject,
  stop?: AbortSignal,
): Promise<Outcome | undefined> {
  switch (own(operation, 'operation')) {
    case 'federation.check':
      return checkFederation(ctx, operation, stop);
    case 'keys.check':
      return checkKeys(ctx, stop);
    default:
      return undefined;
  }
}

async function checkFederation(
  ctx: KeysCheckContext,
  operation: JsonObject,
  stop: AbortSignal | undefined,
): Promise<Outcome> {
  const server = stringAt(operation, 'server') ?? '';
  if (isServerName(server) && !ctx.network.partners.mayCall(server)) {
    const problem = `${server} is no partner, and only partners are called: see "partner add"`;
    return { kind: 'refused', problem };
  }
  const facts = await checkServer(ctx, server, stop);
  // It answers: what waits for it need not wait any longer.
  if (ctx.live !== undefined && isAccepted(facts.signed)) await ctx.backoff.succeeded(server);
  const { lines, isSound } = reportOf(server, diagnose(facts));
  return { kind: 'done', lines, ...(!isSound && { isWrong: true }) };
}
