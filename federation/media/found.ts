import type { Media } from '#storage/media.ts';
import type { Thumbnail } from '#storage/thumbnails.ts';

/** A media whose bytes are here. */
export type StoredMedia = Media & { readonly sha256: string };

/**
 * What became of looking for a media:
 * - `not_found`: there is none, or it is in quarantine
 * - `infected`: it is in quarantine since malware was found in it
 * - `unscanned`: it was not looked at, since the scanner does not answer
 * - `not_yet_uploaded`: its id is reserved, and it did not come in time
 * - `too_large`: of another server, and larger than is taken
 * - `unreachable`: of another server, which does not answer
 * - `refused`: of another server, which does not give it, or gives what is none
 * - `busy`: too many are being fetched
 */
export type Found =
  | { readonly kind: 'found'; readonly media: StoredMedia }
  | {
      readonly kind:
        | 'not_found'
        | 'infected'
        | 'unscanned'
        | 'not_yet_uploaded'
        | 'too_large'
        | 'unreachable'
        | 'refused'
        | 'busy';
    };

/** What became of looking for a media before its bytes were looked at. */
export type Looked = Found | { readonly kind: 'quarantined'; readonly sha256: string };

/** Why there is no media. */
export type Absence = Exclude<Found['kind'], 'found'>;

/**
 * What became of a thumbnail:
 * - `too_large`: the image has too many pixels
 * - `unsupported`: it is no image that thumbnails are made of
 * - `busy`: too many are being made
 */
export type ThumbnailResult =
  | { readonly kind: 'found'; readonly thumbnail: Thumbnail }
  | { readonly kind: 'too_large' | 'unsupported' | 'busy' };

/** True for a media whose bytes are here. */
export function hasBytes(media: Media): media is StoredMedia {
  return media.sha256 !== undefined;
}

/** A media by what is stored of it. */
export function foundOrNot(media: Media | undefined): Looked {
  if (media === undefined || !hasBytes(media)) return { kind: 'not_found' };
  return media.isQuarantined ? { kind: 'quarantined', sha256: media.sha256 } : { kind: 'found', media };
}
