/** The options about files that users upload and read. Part of the table of `config-options.ts`. */

import type { MediaLimits } from '#federation/media/context.ts';
import { type MediaBucketOption, mediaBucketKind } from '../media/media-bucket.ts';
import { durationKind, flagKind, type Option, sizeKind } from './config-types.ts';

const MIB = 1_024 ** 2;
const GIB = 1_024 ** 3;

export interface MediaConfig {
  /** In bytes, as are all sizes. */
  readonly maxUploadSize: number;
  readonly userMediaQuota: number | undefined;
  readonly mediaQuota: number | undefined;
  readonly maxRemoteMediaSize: number;
  readonly remoteMediaCacheSize: number;
  /** In milliseconds, as are all times. */
  readonly remoteMediaMaxUnused: number | undefined;
  readonly localMediaMaxUnused: number | undefined;
  readonly localMediaMaxAge: number | undefined;
  readonly mediaBucket: MediaBucketOption | undefined;
  readonly legacyMedia: boolean;
}

export const mediaOptions: { readonly [Name in keyof MediaConfig]: Option<NonNullable<MediaConfig[Name]>> } =
  {
    maxUploadSize: {
      key: 'max_upload_size',
      kind: sizeKind,
      default: 50 * MIB,
      describes:
        'The largest file that users may upload. A reverse proxy has a limit of its own, which must not be smaller.',
    },
    userMediaQuota: {
      key: 'user_media_quota',
      kind: sizeKind,
      default: undefined,
      describes: 'How much each user may upload in all. Without it there is no limit but the disk.',
    },
    mediaQuota: {
      key: 'media_quota',
      kind: sizeKind,
      default: undefined,
      describes: 'How much all users together may upload. Without it there is no limit but the disk.',
    },
    maxRemoteMediaSize: {
      key: 'max_remote_media_size',
      kind: sizeKind,
      default: 100 * MIB,
      describes: 'The largest file that is fetched from other servers.',
    },
    remoteMediaCacheSize: {
      key: 'remote_media_cache_size',
      kind: sizeKind,
      default: 10 * GIB,
      describes:
        'How much is kept of the files of other servers. What was unread for longest goes first, and is fetched ' +
        'again when it is asked for.',
    },
    remoteMediaMaxUnused: {
      key: 'remote_media_max_unused',
      kind: durationKind,
      default: undefined,
      describes:
        'How long files of other servers are kept that nobody reads, such as `90d`. They are fetched again when they ' +
        'are asked for.',
    },
    localMediaMaxUnused: {
      key: 'local_media_max_unused',
      kind: durationKind,
      default: undefined,
      describes:
        'How long files that users have uploaded are kept and nobody reads, such as `730d`. Then they are deleted for ' +
        'good, except for avatars, what is in packs of emoji or stickers, and what `media protect` keeps. Without it they are kept.',
    },
    localMediaMaxAge: {
      key: 'local_media_max_age',
      kind: durationKind,
      default: undefined,
      describes:
        'How long files that users have uploaded are kept, read or not, with the same exceptions. Without it they are kept.',
    },
    mediaBucket: {
      key: 'media_bucket',
      kind: mediaBucketKind,
      default: undefined,
      describes:
        'A bucket of object storage (S3) for files, in place of the disk: a mapping with `url` (of the bucket: ' +
        '`https://s3.example.org/bucket`), `access_key_id`, `secret_access_key` (or `secret_access_key_file`), and if ' +
        'need be `region` (`us-east-1` unless given), `prefix` (what the names of all files begin with, such as ' +
        '`media/`), `ca` (the path of a PEM file with certificates to trust) and `new_files` (`disk` where new files ' +
        'go to the disk again). See [Files](media.md). In the environment as JSON.',
    },
    legacyMedia: {
      key: 'legacy_media',
      kind: flagKind,
      default: false,
      describes:
        'Serves files by the deprecated `/_matrix/media/v3/download` and `/thumbnail` too, to anybody who knows ' +
        'their address, without signing in. Only for clients from before Matrix 1.11.',
    },
  };

/** The values of these options. */
export function mediaConfig(
  read: <T>(option: Option<T>) => T | undefined,
  required: <T>(option: Option<T>) => T,
): MediaConfig {
  return {
    maxUploadSize: required(mediaOptions.maxUploadSize),
    userMediaQuota: read(mediaOptions.userMediaQuota),
    mediaQuota: read(mediaOptions.mediaQuota),
    maxRemoteMediaSize: required(mediaOptions.maxRemoteMediaSize),
    remoteMediaCacheSize: required(mediaOptions.remoteMediaCacheSize),
    remoteMediaMaxUnused: read(mediaOptions.remoteMediaMaxUnused),
    localMediaMaxUnused: read(mediaOptions.localMediaMaxUnused),
    localMediaMaxAge: read(mediaOptions.localMediaMaxAge),
    mediaBucket: read(mediaOptions.mediaBucket),
    legacyMedia: required(mediaOptions.legacyMedia),
  };
}

/** What these options are to the content repository. */
export function mediaLimits(config: MediaConfig): MediaLimits {
  return {
    remoteBytes: config.maxRemoteMediaSize,
    cacheBytes: config.remoteMediaCacheSize,
    remoteUnusedMs: config.remoteMediaMaxUnused,
    ownUnusedMs: config.localMediaMaxUnused,
    ownAgeMs: config.localMediaMaxAge,
  };
}
