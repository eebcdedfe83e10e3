import { openBlobs } from '#federation/media/open.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Config } from '../config-options.ts';
import { createLog } from '../log.ts';
import { openBucket } from '../media/media-bucket.ts';
import { ScanBacklog } from '../scanning/backlog.ts';
import { openScanning } from '../scanning/open.ts';
import { carryOut } from './carry-out.ts';
import { performOnMedia } from './media-operations.ts';
import type { OperationContext, Outcome } from './operations.ts';
import { performOnScans } from './scan-operations.ts';
import { type Command, UsageError } from './usage.ts';
import { none, one } from './words.ts';

/** The scan of one file may take as long as `scanner_timeout` says. */
const LONGEST_MS = 110_000;

type MediaCommand = Extract<Command, `media ${string}`>;

export function isMediaCommand(command: Command): command is MediaCommand {
  return command.startsWith('media ');
}

/** Does what the operator asks for. @throws UsageError */
export function runOnMedia(
  command: MediaCommand,
  {
    config,
    rest,
    values: { before },
  }: {
    readonly config: Config;
    readonly rest: readonly string[];
    readonly values: { readonly before?: string | undefined };
  },
): Promise<Outcome> {
  const operation = command.replace('media ', 'media.');
  switch (command) {
    case 'media purge-remote':
      none(rest);
      if (before === undefined) throw new UsageError('--before is missing: see --help');
      return operate(config, { operation, before });
    case 'media scanning':
      none(rest);
      return operate(config, { operation });
    case 'media rescan':
      return operate(config, { operation, ...(rest.length > 0 && { media: one(rest, 'the media') }) });
    case 'media move':
      return operate(config, { operation, to: one(rest, 'disk or bucket') });
    default:
      return operate(config, { operation, media: one(rest, 'the media') });
  }
}

/** By the running server where there is one, else on its database and files. */
function operate(config: Config, operation: JsonObject): Promise<Outcome> {
  return carryOut(config, operation, (opened) => performHere(config, operation, opened), LONGEST_MS);
}

async function performHere(
  config: Config,
  operation: JsonObject,
  { db, clock, serverName }: OperationContext,
): Promise<Outcome | undefined> {
  await using closing = new AsyncDisposableStack();
  const blobs = await openBlobs(db, config.dataDir, await openBucket(config, closing));
  const { signal: stopping } = new AbortController();
  const log = createLog('silent');
  const given = { db, clock, log, blobs, stopping };
  const opened = await openScanning(given, config, stopping);
  const scanning = opened && { ...opened, backlog: new ScanBacklog(given, opened.files, opened.queue) };
  const inTime = <T>(work: Promise<T>) => work;
  const ctx = { db, clock, serverName, log, media: { blobs, stopping }, inTime };
  return (await performOnMedia(ctx, operation)) ?? (await performOnScans({ ...ctx, scanning }, operation));
}
