import { openBlobs } from '#federation/media/open.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Config } from '../config-options.ts';
import { askServer } from './control-line.ts';
import { withDatabase } from './database.ts';
import { performOnMedia } from './media-operations.ts';
import type { Outcome } from './operations.ts';
import { UsageError } from './usage.ts';

/** Withholds a media from everybody. */
export function quarantineMedia(config: Config, media: string): Promise<Outcome> {
  return operate(config, { operation: 'media.quarantine', media });
}

/** Lifts a quarantine. */
export function releaseMedia(config: Config, media: string): Promise<Outcome> {
  return operate(config, { operation: 'media.release', media });
}

/** Deletes what is kept of other servers and was not read since a day or a time. */
export function purgeRemoteMedia(config: Config, before: string | undefined): Promise<Outcome> {
  if (before === undefined) throw new UsageError('--before is missing: see --help');
  return operate(config, { operation: 'media.purge-remote', before });
}

/** By the running server where there is one, else on its database and files. */
async function operate(config: Config, operation: JsonObject): Promise<Outcome> {
  const answer = await askServer(config.dataDir, operation);
  if (answer !== undefined) return answer;
  return withDatabase(config, async ({ db, clock, serverName }) => {
    const blobs = await openBlobs(db, config.dataDir);
    const ctx = { db, clock, serverName, media: { blobs }, inTime: <T>(work: Promise<T>) => work };
    return (
      (await performOnMedia(ctx, operation)) ?? { kind: 'refused', problem: 'the command is not understood' }
    );
  });
}
