/** Media that another server keeps on a web server, and says where. */

import { type FederationFailure, failure } from '../client.ts';
import { ConsumerFailed, consumeUpTo } from '../network/answer-body.ts';
import { getOverHttps } from '../network/https-get.ts';
import { TimeLimit } from '../network/time-limit.ts';
import type { Remote } from '../remote/answer.ts';
import { fileHeadersOf, MEDIA_IDLE_MS, MEDIA_TIMEOUT_MS, type TakeFile } from '../remote/media.ts';
import type { MediaContext } from './context.ts';

const MOST_REDIRECTS = 3;

/**
 * Fetches what a `Location` names: by HTTPS, from an address that is allowed and a host that may be called, and no more
 * than a media may have.
 */
export async function fetchElsewhere<T>(
  { media, partners }: Pick<MediaContext, 'media' | 'partners'>,
  location: string,
  take: TakeFile<T>,
): Promise<Remote<T>> {
  using limit = new TimeLimit(MEDIA_TIMEOUT_MS, [media.stopping]);
  const options = { accept: '*/*', signal: limit.signal, idleMs: MEDIA_IDLE_MS };
  try {
    let url = httpsUrl(location);
    for (let hop = 0; hop <= MOST_REDIRECTS; hop += 1) {
      if (url === undefined) return failure('bad_answer', 'the media is at no HTTPS address');
      // Where only partners are called, a partner cannot send us to others.
      if (!partners.mayCall(url.hostname)) return failure('not_a_partner', 'the media is with no partner');
      // One after the other: each answer says where the next one is.
      const response = await getOverHttps(media.dialer, url, options);
      const { statusCode: status = 0, headers } = response;
      if (status === 200) {
        const taken = await consumeUpTo(response, media.limits.remoteBytes, (body) =>
          take(fileHeadersOf(headers), body),
        );
        return taken === undefined
          ? failure('too_large', 'the media is too large')
          : { kind: 'ok', ...taken };
      }
      response.destroy();
      if (status < 300 || status > 399 || headers.location === undefined) return refused(status);
      url = httpsUrl(headers.location, url);
    }
    return failure('bad_answer', 'too many redirects');
  } catch (error) {
    if (error instanceof ConsumerFailed) throw error.cause;
    return failure('unreachable', error instanceof Error ? error.message : String(error));
  }
}

function httpsUrl(text: string, base?: URL): URL | undefined {
  if (!URL.canParse(text, base?.href)) return undefined;
  const url = new URL(text, base);
  return url.protocol === 'https:' && url.username === '' && url.password === '' ? url : undefined;
}

function refused(status: number): FederationFailure {
  return { ...failure('refused', `status ${status}`), status };
}
