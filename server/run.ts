/** A server as a process: starts, says so, and ends cleanly when it is told to. */

import type { Log } from '#rooms/context.ts';
import { collectAtRest } from './at-rest.ts';
import { firstAccount } from './auth/first-account.ts';
import { bannerOf } from './banner.ts';
import { boot, type RunningServer } from './boot.ts';
import { warningsFor } from './config.ts';
import type { Config } from './config-options.ts';
import { createLog } from './log.ts';
import { explain } from './start-errors.ts';

const STOP_WITHIN_MS = 9_000;
/**
 * Small Buffers are cut from a common block, which stays as long as one of them. Of Node's blocks of 64 KB those few that
 * V8 takes for old, such as what waits for a thread to verify it, kept 30 MB in a large join.
 */
const BUFFER_POOL_BYTES = 8 * 1_024;

/** Serves until the process is told to stop. What keeps it from starting ends the process. */
export async function run(config: Config): Promise<void> {
  const log = createLog(config.logLevel);
  Buffer.poolSize = BUFFER_POOL_BYTES;
  const fail = (error: unknown): never => {
    log.error({ err: error }, 'the server must be restarted');
    process.exit(1);
  };
  process.on('uncaughtException', fail).on('unhandledRejection', fail);
  for (const warning of warningsFor(config)) log.warn({}, warning);
  const server = await boot(config, { log, onFatal: fail }).catch((error: unknown) =>
    stopWith(error, config),
  );
  stopOnSignals(server, log);
  collectAtRest();
  process.stdout.write(`${bannerOf(config, server, await firstAccount(server.ctx))}\n`);
}

/** Ends before the start: by one line where the operator can mend it. */
export function stopWith(error: unknown, config?: Config): never {
  const line = explain(error, config);
  process.stderr.write(
    line === undefined ? `kurir: ${(error as Error)?.stack ?? error}\n` : `kurir: ${line}\n`,
  );
  process.exit(1);
}

/** SIGTERM and SIGINT end the server within ten seconds; a second one changes nothing. */
function stopOnSignals(server: RunningServer, log: Log): void {
  let stopping = false;
  const stop = (signal: string): void => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'stopping');
    setTimeout(() => {
      log.warn({}, 'stopped before all requests were answered');
      process.exit(0);
    }, STOP_WITHIN_MS).unref();
    server.close().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, 'the server did not close cleanly');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
}
