import { openBlobs } from '#federation/media/open.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Config } from '../config-options.ts';
import { createLog } from '../log.ts';
import { openBucket } from '../media-bucket.ts';
import { askServer } from './control-line.ts';
import { withDatabase } from './database.ts';
import { performOnMedia } from './media-operations.ts';
import type { Outcome } from './operations.ts';
import { type Command, UsageError } from './usage.ts';
import { none, one } from './words.ts';

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
    case 'media move':
      return operate(config, { operation, to: one(rest, 'disk or bucket') });
    default:
      return operate(config, { operation, media: one(rest, 'the media') });
  }
}

/** By the running server where there is one, else on its database and files. */
async function operate(config: Config, operation: JsonObject): Promise<Outcome> {
  const answer = await askServer(config.dataDir, operation);
  if (answer !== undefined) return answer;
  return withDatabase(config, async ({ db, clock, serverName }) => {
    await using closing = new AsyncDisposableStack();
    const blobs = await openBlobs(db, config.dataDir, await openBucket(config, closing));
    const media = { blobs, stopping: new AbortController().signal };
    const log = createLog('silent');
    const ctx = { db, clock, serverName, log, media, inTime: <T>(work: Promise<T>) => work };
    return (
      (await performOnMedia(ctx, operation)) ?? { kind: 'refused', problem: 'the command is not understood' }
    );
  });
}
