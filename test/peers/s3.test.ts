/** Files in a bucket of a store that others wrote. */

import { test } from 'node:test';
import { livesInBucket } from '#test/server/media/bucket-story.ts';
import { hasGo, startVersity } from './versitygw.ts';

const skip = hasGo ? false : 'needs Go, which builds versitygw';

test('files of all sizes, their parts and thumbnails are in a bucket of versitygw, and move to the disk and back', {
  skip,
}, async () => {
  await using bucket = await startVersity();
  const { url, accessKeyId, secretAccessKey } = bucket;
  const option = { url, accessKeyId, secretAccessKey, region: 'us-east-1', ca: undefined } as const;
  await livesInBucket({ ...option, prefix: '', newFiles: 'bucket' });
  await livesInBucket({ ...option, prefix: 'one/', newFiles: 'bucket' });
});
