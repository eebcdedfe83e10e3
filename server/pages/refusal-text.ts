import type { MatrixError } from '#federation/errors.ts';
import { fill, type Texts } from '../languages/texts.ts';

/** What a page says where a part that it shares with the client-server API refuses something. */
export function refusalText(
  { page, stages: words, forgotten }: Texts,
  { errcode, status, extras }: MatrixError,
): string {
  switch (errcode) {
    case 'M_LIMIT_EXCEEDED':
      return fill(page.tooMany, { seconds: Math.ceil(Number(extras.retry_after_ms ?? 0) / 1_000) });
    case 'M_THREEPID_AUTH_FAILED':
      return words.notConfirmed;
    case 'M_THREEPID_IN_USE':
      return words.emailTaken;
    case 'M_THREEPID_DENIED':
      return words.emailRefused;
    case 'M_INVALID_PARAM':
      return forgotten.badEmail;
    default:
      return status === 503 ? words.noLetter : page.failed;
  }
}
