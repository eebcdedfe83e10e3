import { join } from 'node:path';
import { Lanes } from '#keys/lanes.ts';
import { Blobs, type Bucket } from '#storage/blobs.ts';
import type { Reader } from '#storage/database.ts';
import { DiskPlace } from '#storage/disk-place.ts';
import * as media from '#storage/media.ts';
import * as thumbnails from '#storage/thumbnails.ts';
import { Flights } from '../flights.ts';
import { Arrivals } from './arrivals.ts';
import type { MediaContext, MediaParts } from './context.ts';
import { ThumbnailMaker } from './thumbnail-maker.ts';

export interface MediaOptions extends Pick<MediaParts, 'dialer' | 'limits' | 'scanner' | 'stopping'> {
  readonly dataDir: string;
  readonly bucket: Bucket | undefined;
}

/** Media that are fetched at once, and how many may wait for that. */
const FETCHES_AT_ONCE = 32;
const MOST_WAITING = 512;
/** What a server did not give is not asked for again at once: a room may show it to hundreds of users. */
const ABSENCE_REMEMBERED_MS = 60_000;
/** An image that could not be decoded will not be the next time either. */
const UNSUPPORTED_REMEMBERED_MS = 60 * 60_000;

/** Opens the content repository; `closing` ends what has a life of its own. */
export async function openMedia(
  { db, clock }: Pick<MediaContext, 'db' | 'clock'>,
  { dataDir, bucket, ...given }: MediaOptions,
  closing: AsyncDisposableStack,
): Promise<MediaParts> {
  return {
    ...given,
    blobs: await openBlobs(db, dataDir, bucket),
    arrivals: new Arrivals(),
    fetches: new Flights({
      clock,
      isLasting: ({ kind }) => kind !== 'found' && kind !== 'quarantined' && kind !== 'not_yet_uploaded',
      rememberedMs: ABSENCE_REMEMBERED_MS,
    }),
    fetchLanes: new Lanes(FETCHES_AT_ONCE, MOST_WAITING),
    thumbnails: closing.use(new ThumbnailMaker()),
    thumbnailFlights: new Flights({
      clock,
      isLasting: ({ kind }) => kind === 'unsupported' || kind === 'too_large',
      rememberedMs: UNSUPPORTED_REMEMBERED_MS,
    }),
  };
}

/** The files of the content repository, in a data folder and, where there is one, in a bucket. */
export function openBlobs(db: Reader, dataDir: string, bucket: Bucket | undefined): Promise<Blobs> {
  const referenced = async (files: readonly string[]) =>
    (await media.held(db, files)).union(await thumbnails.held(db, files));
  return Blobs.open(folderIn(dataDir), referenced, bucket);
}

/** How large the files are, for who only looks. */
export function storedSizes(dataDir: string, bucket: Bucket | undefined): Pick<Blobs, 'sizeOf'> {
  const disk = new DiskPlace(folderIn(dataDir));
  return { sizeOf: async (sha256) => (await disk.sizeOf(sha256)) ?? (await bucket?.place.sizeOf(sha256)) };
}

function folderIn(dataDir: string): string {
  return join(dataDir, 'media');
}
