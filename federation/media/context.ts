import type { Lanes } from '#keys/lanes.ts';
import type { Blobs } from '#storage/blobs.ts';
import type { FederationContext } from '../context.ts';
import type { Flights } from '../flights.ts';
import type { Dialer } from '../network/dial.ts';
import type { Arrivals } from './arrivals.ts';
import type { Looked, ThumbnailResult } from './found.ts';
import type { MediaScanner } from './scanner.ts';
import type { ThumbnailMaker } from './thumbnail-maker.ts';

/** What the functions of `federation/media/` take first. */
export interface MediaContext
  extends Pick<FederationContext, 'serverName' | 'client' | 'partners' | 'db' | 'clock' | 'log'> {
  readonly media: MediaParts;
}

/** The content repository: made by `open.ts`. */
export interface MediaParts {
  readonly blobs: Blobs;
  /** Undefined where nothing looks for malware. */
  readonly scanner: MediaScanner | undefined;
  /** Media of ours that somebody waits for until they are uploaded. */
  readonly arrivals: Arrivals;
  /** Media of other servers that are on their way. */
  readonly fetches: Flights<Looked>;
  readonly fetchLanes: Lanes;
  readonly thumbnails: ThumbnailMaker;
  readonly thumbnailFlights: Flights<ThumbnailResult>;
  readonly dialer: Dialer;
  readonly limits: MediaLimits;
  /** Aborted when the server begins to stop. */
  readonly stopping: AbortSignal;
}

/** Sizes in bytes, times in milliseconds. */
export interface MediaLimits {
  /** Of one media of another server. */
  readonly remoteBytes: number;
  /** Of all that is kept of other servers. */
  readonly cacheBytes: number;
  /** How long what nobody reads is kept of other servers, and of our users; undefined for no end. */
  readonly remoteUnusedMs?: number | undefined;
  readonly ownUnusedMs?: number | undefined;
  /** How long what our users upload is kept, read or not. */
  readonly ownAgeMs?: number | undefined;
}
