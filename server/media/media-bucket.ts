/** The option `media_bucket`: object storage for files, in place of the disk. */

import type { BucketPlace } from '#federation/media/bucket.ts';
import type { Bucket } from '#storage/blobs.ts';
import { baseUrlKind, choiceKind, textKind, type ValueKind } from '../config/config-types.ts';
import type { Config } from '../config-options.ts';
import { fromJson, Members, mappingOf, type Secret } from '../providers/option-reader.ts';
import { readOptionFile, readSecret } from '../providers/secret.ts';

export interface MediaBucketOption {
  /** Of the bucket, without a slash at its end. */
  readonly url: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  /** What the names of all files begin with. */
  readonly prefix: string;
  /** The path of a PEM file. */
  readonly ca: string | undefined;
  /** Where new files go. */
  readonly newFiles: (typeof newFilesPlaces)[number];
}

const newFilesPlaces = ['bucket', 'disk'] as const;
const OPTION = 'media_bucket';
const DEFAULT_REGION = 'us-east-1';
/** Names that mean the same in every store, and are signed as they stand. */
const PREFIX = /^(?:[A-Za-z0-9._-]{1,64}\/){1,4}$/;

const prefixKind: ValueKind<string> = {
  expects: 'a prefix such as media/, of letters, digits and ._- with a slash at its end',
  parse: (value) =>
    typeof value === 'string' && PREFIX.test(value) && !value.includes('..') ? value : undefined,
  format: (value) => value,
};

export const mediaBucketKind: ValueKind<MediaBucketOption> = {
  expects: 'a mapping with url, access_key_id and secret_access_key; in the environment as JSON',
  parse: (value) => {
    const given = mappingOf(fromJson(value));
    if (given === undefined) return undefined;
    const members = new Members(OPTION, given);
    const url = members.required('url', baseUrlKind);
    const region = members.optional('region', textKind('a region such as eu-central-1')) ?? DEFAULT_REGION;
    const accessKeyId = members.required('access_key_id', textKind('a text'));
    const secretAccessKey = members.secret('secret_access_key', textKind('a text'));
    const prefix = members.optional('prefix', prefixKind) ?? '';
    const ca = members.optional('ca', textKind('the path of a PEM file'));
    const newFiles = members.optional('new_files', choiceKind(newFilesPlaces)) ?? 'bucket';
    members.refuseOthers();
    if (secretAccessKey === undefined) {
      throw members.wrong('secret_access_key is missing: give it, or secret_access_key_file');
    }
    return { url, region, accessKeyId, secretAccessKey, prefix, ca, newFiles };
  },
  format: ({ url }) => url,
};

/**
 * The bucket of the configuration, if there is one. Nothing is asked of it yet.
 *
 * @throws ConfigError where a file that the option names cannot be read
 */
export async function openBucket(
  { mediaBucket: option, serverName }: Pick<Config, 'mediaBucket' | 'serverName'>,
  closing: AsyncDisposableStack,
): Promise<(Bucket & { readonly place: BucketPlace }) | undefined> {
  if (option === undefined) return undefined;
  const { url, region, accessKeyId, prefix } = option;
  const secretAccessKey = await readSecret(OPTION, option.secretAccessKey);
  const ca = option.ca === undefined ? undefined : await readOptionFile(OPTION, option.ca);
  // Loaded where there is a bucket: what asks it is a good part of a start.
  const { BucketPlace } = await import('#federation/media/bucket.ts');
  const place = closing.use(
    new BucketPlace({ url, region, accessKeyId, secretAccessKey, ca, prefix, serverName }),
  );
  return { place, takesNew: option.newFiles === 'bucket' };
}
