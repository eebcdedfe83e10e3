/** Looks for a media by its URI: here, and where it is not ours, at its server. */

import { LanesFull } from '#keys/lanes.ts';
import { type Mxc, mxcOf } from '#keys/mxc.ts';
import { DatabaseFull } from '#storage/database.ts';
import { type Media, of, touch } from '#storage/media.ts';
import type { MediaContext } from './context.ts';
import { fetchRemote } from './fetch-remote.ts';
import { type Found, foundOrNot, type Looked, type StoredMedia } from './found.ts';

export interface FindOptions {
  /** How long to wait for one that is reserved and not uploaded yet, in milliseconds. */
  readonly timeoutMs: number;
  /**
   * Whether its server may be asked for one of another server: called before that, and may throw. Without it nobody
   * is asked.
   */
  readonly beforeFetch?: () => void;
}

/** "The default value is 20000 (20 seconds). The content repository SHOULD impose a maximum value." */
export const DEFAULT_TIMEOUT_MS = 20_000;
export const LONGEST_TIMEOUT_MS = 60_000;
/** When something was last read is known to the hour: reading must not cost a write. */
const ACCESS_PRECISION_MS = 60 * 60_000;

/** Finds a media that anybody may have who knows its URI. */
export async function findMedia(ctx: MediaContext, mxc: Mxc, options: FindOptions): Promise<Found> {
  const found = await clearedOf(
    ctx,
    mxc.server === ctx.serverName ? await findOwn(ctx, mxc, options) : await findRemote(ctx, mxc, options),
  );
  if (found.kind === 'found') await noteAccess(ctx, found.media);
  return found;
}

/** Nobody gets what is not clear of malware. */
async function clearedOf({ media: { scanner, blobs } }: MediaContext, looked: Looked): Promise<Found> {
  if (looked.kind === 'quarantined') {
    const isInfected = (await scanner?.isInfected(looked.sha256)) === true;
    return { kind: isInfected ? 'infected' : 'not_found' };
  }
  if (looked.kind !== 'found' || scanner === undefined) return looked;
  const { sha256 } = looked.media;
  const clearance = await scanner.stored(looked.media, () => blobs.read(sha256));
  switch (clearance) {
    case 'clear':
      return looked;
    case 'unavailable':
      return { kind: 'unscanned' };
    case 'infected':
    case 'too_large':
    case 'busy':
      return { kind: clearance };
  }
}

async function findOwn(ctx: MediaContext, mxc: Mxc, { timeoutMs }: FindOptions): Promise<Looked> {
  using expected = ctx.media.arrivals.expect(mxc.mediaId);
  const known = await of(ctx.db, mxc);
  if (known === undefined || !isReserved(known, ctx.clock.now())) return foundOrNot(known);
  await expected.within(timeoutMs, ctx.media.stopping);
  const later = await of(ctx.db, mxc);
  return later?.sha256 === undefined ? { kind: 'not_yet_uploaded' } : foundOrNot(later);
}

async function findRemote(ctx: MediaContext, mxc: Mxc, options: FindOptions): Promise<Looked> {
  const known = await of(ctx.db, mxc);
  if (known !== undefined) return foundOrNot(known);
  const { beforeFetch, timeoutMs } = options;
  if (beforeFetch === undefined) return { kind: 'not_found' };
  const uri = mxcOf(mxc);
  const { fetches, fetchLanes } = ctx.media;
  if (fetches.isNew(uri)) beforeFetch();
  try {
    return await fetches.run(uri, () => fetchLanes.run(() => fetchRemote(ctx, mxc, timeoutMs)));
  } catch (error) {
    if (error instanceof LanesFull) return { kind: 'busy' };
    throw error;
  }
}

function isReserved({ sha256, expiresTs }: Media, now: number): boolean {
  return sha256 === undefined && expiresTs !== undefined && expiresTs > now;
}

async function noteAccess(ctx: MediaContext, { nid, accessedTs }: StoredMedia): Promise<void> {
  const now = ctx.clock.now();
  if (now - accessedTs < ACCESS_PRECISION_MS) return;
  await ctx.db
    .write('media.touch', (tx) => touch(tx, nid, now))
    .catch((error: unknown) => {
      // On a full disk files are still read.
      if (!(error instanceof DatabaseFull)) throw error;
    });
}
