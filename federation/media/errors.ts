/** From what became of a media to the error that says so. */

import {
  forbidden,
  limitExceeded,
  MatrixError,
  notFound,
  notYetUploaded,
  tooLarge,
  unknown,
  unreachable,
} from '../errors.ts';
import type { Absence, ThumbnailResult } from './found.ts';
import type { Clearance } from './scanner.ts';

const BUSY_RETRY_MS = 5_000;
const SCANNER_RETRY_S = 30;
const INFECTED = 'Malware was found in the file';

/** For a media that was not found. */
export function absenceError(absence: Absence): MatrixError {
  switch (absence) {
    case 'not_found':
      return notFound('There is no such media');
    case 'infected':
      return infected();
    case 'unscanned':
      return scannerUnavailable();
    case 'not_yet_uploaded':
      return notYetUploaded();
    case 'too_large':
      return remoteTooLarge('Content is too large to serve');
    case 'unreachable':
      return unreachable('The server of the media does not answer');
    case 'refused':
      return unknown(502, 'The server of the media does not give it');
    case 'busy':
      return limitExceeded(BUSY_RETRY_MS);
  }
}

/** For a thumbnail that cannot be made, of a media of ours or of another server. */
export function thumbnailError(
  kind: Exclude<ThumbnailResult['kind'], 'found'>,
  { isOurs }: { readonly isOurs: boolean },
): MatrixError {
  const tooLargeMessage = 'Content is too large to thumbnail';
  switch (kind) {
    case 'too_large':
      return isOurs ? tooLarge(tooLargeMessage) : remoteTooLarge(tooLargeMessage);
    case 'unsupported':
      return unknown(400, 'Cannot generate thumbnails for the requested content');
    case 'busy':
      return limitExceeded(BUSY_RETRY_MS);
  }
}

/** For bytes that are not taken, or not given to anybody, since they are not clear of malware. */
export function clearanceError(clearance: Exclude<Clearance, 'clear'>): MatrixError {
  switch (clearance) {
    case 'infected':
      return forbidden(INFECTED);
    case 'too_large':
      return tooLarge('The file is too large to be scanned for malware');
    case 'unavailable':
      return scannerUnavailable();
    case 'busy':
      return limitExceeded(BUSY_RETRY_MS);
  }
}

/** What is in quarantine is not there, for whoever asks. */
function infected(): MatrixError {
  return notFound(INFECTED);
}

function scannerUnavailable(): MatrixError {
  return new MatrixError(503, 'M_UNKNOWN', 'The scanner for malware does not answer', {
    headers: { 'retry-after': String(SCANNER_RETRY_S) },
  });
}

/** "Servers should not proxy or thumbnail large files from remote homeservers, returning a HTTP 502 error." */
function remoteTooLarge(message: string): MatrixError {
  return new MatrixError(502, 'M_TOO_LARGE', message);
}
