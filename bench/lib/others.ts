/** Somebody who asks the server something small, again and again, while it is busy with something else. */

import { setTimeout as sleep } from 'node:timers/promises';
import { type Account, call } from '#bench/lib/accounts.ts';

const PAUSE_MS = 20;

/** How long each answer took, in ms, until `signal`; closes the connection then. */
export async function askOthers(
  { connection, token }: Pick<Account, 'connection' | 'token'>,
  signal: AbortSignal,
): Promise<number[]> {
  const latencies: number[] = [];
  while (!signal.aborted) {
    const from = performance.now();
    await call(connection, 'GET', '/_matrix/client/v3/account/whoami', { token });
    latencies.push(performance.now() - from);
    await sleep(PAUSE_MS);
  }
  connection.close();
  return latencies;
}
