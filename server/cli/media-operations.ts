/** What the operator's command does to media: by the running server, or on its database and files. */

import { type CacheContext, purgeRemote } from '#federation/media/cache.ts';
import type { MediaContext, MediaParts } from '#federation/media/context.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import { type Mxc, mxcOf, parseMxc } from '#keys/mxc.ts';
import { NoSpace, PlaceUnavailable } from '#storage/blob-place.ts';
import type { Moved } from '#storage/blobs.ts';
import { deleteMedia, protectMedia, quarantineMedia, releaseMedia } from '../media/moderation.ts';
import type { Outcome } from './operations.ts';
import { timeOf } from './when.ts';

export type MediaOperationContext = CacheContext &
  Pick<MediaContext, 'clock' | 'serverName' | 'log'> & {
    readonly media: Pick<MediaParts, 'blobs' | 'stopping'>;
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
  if (name === 'media.move') return move(ctx, stringAt(operation, 'to') ?? '');
  const onOne = typeof name === 'string' ? ON_ONE.get(name) : undefined;
  if (onOne === undefined) return undefined;
  const word = stringAt(operation, 'media') ?? '';
  const mxc = parseMxc(word);
  if (mxc === undefined) return refused(`"${word}" is not the address of a media (mxc://server/id)`);
  return onOne(ctx, mxc);
}

const ON_ONE: ReadonlyMap<string, (ctx: MediaOperationContext, mxc: Mxc) => Promise<Outcome>> = new Map([
  ['media.quarantine', quarantine],
  ['media.release', release],
  ['media.protect', (ctx, mxc) => protect(ctx, mxc, true)],
  ['media.unprotect', (ctx, mxc) => protect(ctx, mxc, false)],
  ['media.delete', deleteOne],
]);

async function quarantine(ctx: MediaOperationContext, mxc: Mxc): Promise<Outcome> {
  if (!(await quarantineMedia(ctx, mxc))) return unknown(mxc);
  return done(
    `${mxcOf(mxc)} is in quarantine: nobody gets it here, nor the same file under another address.`,
  );
}

async function release(ctx: MediaOperationContext, mxc: Mxc): Promise<Outcome> {
  if (!(await releaseMedia(ctx, mxc))) return refused(`${mxcOf(mxc)} is not in quarantine`);
  return done(`${mxcOf(mxc)} is served again, and so is the same file under another address.`);
}

async function protect(ctx: MediaOperationContext, mxc: Mxc, isProtected: boolean): Promise<Outcome> {
  if (!(await protectMedia(ctx, mxc, isProtected))) return unknown(mxc);
  return done(isProtected ? `${mxcOf(mxc)} is kept for good.` : `${mxcOf(mxc)} is protected no more.`);
}

async function deleteOne(ctx: MediaOperationContext, mxc: Mxc): Promise<Outcome> {
  return (await deleteMedia(ctx, mxc)) ? done(`${mxcOf(mxc)} is deleted.`) : unknown(mxc);
}

function unknown(mxc: Mxc): Outcome {
  return refused(`there is no media ${mxcOf(mxc)} on this server`);
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

async function move(ctx: MediaOperationContext, to: string): Promise<Outcome> {
  const { blobs, stopping } = ctx.media;
  if (to !== 'disk' && to !== 'bucket') return refused(`"${to}" is neither disk nor bucket`);
  if (!blobs.hasBucket) return refused('there is no bucket: set media_bucket first');
  const report = (moved: Moved): void => ctx.log.info({ to, ...moved }, 'files are being moved');
  const work = blobs.move(to, stopping, report).then(
    (moved): Outcome => {
      ctx.log.info({ to, ...moved }, 'files were moved');
      return movedTo(to, moved);
    },
    (error: unknown): Outcome => {
      ctx.log.error({ to, err: error }, 'files could not be moved');
      if (!(error instanceof PlaceUnavailable || error instanceof NoSpace)) throw error;
      return refused(`not all files were moved: ${error.message}. What was moved stays so: run it again`);
    },
  );
  const outcome = await ctx.inTime(work);
  return outcome === 'running'
    ? done('The files are being moved; the log of the server says how far.')
    : outcome;
}

function movedTo(to: string, { count, bytes, damaged }: Moved): Outcome {
  const lines = [`Files moved to the ${to}: ${count} (${(bytes / MIB).toFixed(1)} MiB).`];
  if (damaged > 0) lines.push(`Damaged, and left where they are: ${damaged}.`);
  return { kind: 'done', lines };
}

function done(line: string): Outcome {
  return { kind: 'done', lines: [line] };
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}
