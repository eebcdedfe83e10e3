/** Brings a media of another server here. */

import type { Mxc } from '#keys/mxc.ts';
import type { ReceivedFile } from '#storage/blobs.ts';
import { add, of } from '#storage/media.ts';
import * as mediaUsage from '#storage/media-usage.ts';
import type { FederationFailure } from '../client.ts';
import { downloadMedia, type FileHeaders, type TakeFile } from '../remote/media.ts';
import { shrinkCache } from './cache.ts';
import type { MediaContext } from './context.ts';
import { fetchElsewhere } from './elsewhere.ts';
import { type Absence, type Found, foundOrNot, type Looked } from './found.ts';

/** A file that was received whole, or undefined where it was too large. */
interface Taken {
  readonly headers: FileHeaders;
  readonly file: ReceivedFile | undefined;
}

/** Asks the media's server for it, waiting `timeoutMs` for one that is not uploaded yet, and keeps it. */
export async function fetchRemote(ctx: MediaContext, mxc: Mxc, timeoutMs: number): Promise<Looked> {
  const { blobs, limits } = ctx.media;
  // What is not kept in the end goes, at whatever point that turns out.
  await using received = new AsyncDisposableStack();
  const take: TakeFile<Taken> = async (headers, bytes) => {
    const taken = await blobs.receive(bytes, limits.remoteBytes);
    return { headers, file: taken.kind === 'received' ? received.use(taken.file) : undefined };
  };
  const wanted = { timeoutMs, maxBytes: limits.remoteBytes };
  const answer = await downloadMedia(ctx, mxc, wanted, take);
  if (answer.kind === 'failed') return absent(ctx, mxc, answer);
  if (answer.value.kind === 'taken') return await keep(ctx, mxc, answer.value.value);
  const fetched = await fetchElsewhere(ctx, answer.value.location, take);
  return fetched.kind === 'failed' ? absent(ctx, mxc, fetched) : await keep(ctx, mxc, fetched.value);
}

async function keep(ctx: MediaContext, mxc: Mxc, { headers, file }: Taken): Promise<Looked> {
  if (file === undefined) return { kind: 'too_large' };
  const { contentType, fileName } = headers;
  const { sha256, size } = file;
  const content = { sha256, size, contentType, uploadName: fileName };
  await ctx.media.blobs.keep(file, () =>
    ctx.db.write('media.addRemote', async (tx) => {
      const isNew = await add(tx, { ...mxc, userId: undefined }, content, ctx.clock.now());
      if (isNew) await mediaUsage.add(tx, 'remote', size);
    }),
  );
  await shrinkCache(ctx);
  // It may have been withheld meanwhile.
  return foundOrNot(await of(ctx.db, mxc));
}

function absent(ctx: MediaContext, mxc: Mxc, failure: FederationFailure): Found {
  const kind = absenceOf(failure);
  const { reason, status, message } = failure;
  ctx.log.debug({ ...mxc, reason, status, message }, 'a media of another server was not fetched');
  return { kind };
}

function absenceOf({ reason, status, errcode }: FederationFailure): Absence {
  switch (reason) {
    case 'invalid_server':
      return 'not_found';
    case 'too_large':
      return 'too_large';
    case 'bad_answer':
      return 'refused';
    case 'refused':
      if (errcode === 'M_NOT_YET_UPLOADED') return 'not_yet_uploaded';
      if (errcode === 'M_TOO_LARGE') return 'too_large';
      return status === 404 ? 'not_found' : 'refused';
    default:
      return 'unreachable';
  }
}
