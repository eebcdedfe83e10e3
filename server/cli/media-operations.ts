/** What the operator's command does to media: by the running server, or on its database and files. */

import { type CacheContext, purgeRemote } from '#federation/media/cache.ts';
import type { MediaContext } from '#federation/media/context.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import { type Mxc, mxcOf, parseMxc } from '#keys/mxc.ts';
import * as media from '#storage/media.ts';
import type { Outcome } from './operations.ts';
import { timeOf } from './when.ts';

export type MediaOperationContext = CacheContext &
  Pick<MediaContext, 'clock' | 'serverName'> & {
    /** `running` for what goes on for long. */
    readonly inTime: <T>(work: Promise<T>) => Promise<T | 'running'>;
  };

const MIB = 1_024 ** 2;

/** Does one thing: `{"operation": "media.quarantine", ...}`; undefined for what is none of these. */
export async function performOnMedia(
  ctx: MediaOperationContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  const name = own(operation, 'operation');
  if (name === 'media.purge-remote') return purge(ctx, stringAt(operation, 'before') ?? '');
  if (name !== 'media.quarantine' && name !== 'media.release') return undefined;
  const word = stringAt(operation, 'media') ?? '';
  const mxc = parseMxc(word);
  if (mxc === undefined) return refused(`"${word}" is not the address of a media (mxc://server/id)`);
  return name === 'media.quarantine' ? quarantine(ctx, mxc) : release(ctx, mxc);
}

async function quarantine(ctx: MediaOperationContext, mxc: Mxc): Promise<Outcome> {
  const { serverName, clock } = ctx;
  const isKnown = await ctx.db.write('media.quarantine', (tx) =>
    media.quarantine(tx, mxc, { serverName, now: clock.now() }),
  );
  if (!isKnown) return refused(`there is no media ${mxcOf(mxc)} on this server`);
  return done(
    `${mxcOf(mxc)} is in quarantine: nobody gets it here, nor the same file under another address.`,
  );
}

async function release(ctx: MediaOperationContext, mxc: Mxc): Promise<Outcome> {
  const isReleased = await ctx.db.write('media.release', (tx) => media.release(tx, mxc));
  if (!isReleased) return refused(`${mxcOf(mxc)} is not in quarantine`);
  return done(`${mxcOf(mxc)} is served again, and so is the same file under another address.`);
}

async function purge(ctx: MediaOperationContext, before: string): Promise<Outcome> {
  const time = timeOf(before);
  if (time === undefined) {
    return refused(`"${before}" is neither a day (2026-01-31) nor a time (2026-01-31T12:00Z)`);
  }
  const purged = await ctx.inTime(purgeRemote(ctx, time));
  if (purged === 'running') return done('The files are being deleted.');
  const { count, bytes } = purged;
  return done(`Files of other servers deleted: ${count} (${(bytes / MIB).toFixed(1)} MiB).`);
}

function done(line: string): Outcome {
  return { kind: 'done', lines: [line] };
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}
