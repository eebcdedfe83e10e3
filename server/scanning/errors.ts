/**
 * Errors of the API of scanners:
 * https://github.com/element-hq/matrix-content-scanner-python/blob/main/docs/api.md#error-codes
 */

import { MatrixError } from '#federation/errors.ts';
import { absenceError } from '#federation/media/errors.ts';
import type { Absence } from '#federation/media/found.ts';
import type { Clearance } from '#federation/media/scanner.ts';

/**
 * `{reason, info}`, and no `errcode`: clients read what has one as an error of Matrix, and look no further.
 */
class ScannerError extends MatrixError {
  override get body(): MatrixError['body'] {
    return { reason: this.errcode, info: this.message };
  }
}

/** 403 `MCS_MEDIA_NOT_CLEAN`. */
function mediaNotClean(): MatrixError {
  return new ScannerError(403, 'MCS_MEDIA_NOT_CLEAN', NOT_CLEAN);
}

/** 403 `MCS_MIME_TYPE_FORBIDDEN`: the operator does not let files of this type through. */
export function mimeTypeForbidden(): MatrixError {
  return new ScannerError(403, 'MCS_MIME_TYPE_FORBIDDEN', 'Files of this type are not allowed');
}

/** 400 `MCS_MEDIA_FAILED_TO_DECRYPT`: the file is another one than its keys are for. */
export function mediaFailedToDecrypt(): MatrixError {
  return new ScannerError(
    400,
    'MCS_MEDIA_FAILED_TO_DECRYPT',
    'The file does not have the hash that is given',
  );
}

/** 403 `MCS_BAD_DECRYPTION`: "The client should request the public key of the server and then retry (once)." */
export function badDecryption(): MatrixError {
  return new ScannerError(403, 'MCS_BAD_DECRYPTION', 'The encrypted body could not be decrypted');
}

/** 400 `MCS_MALFORMED_JSON`. */
export function malformedJson(message: string): MatrixError {
  return new ScannerError(400, 'MCS_MALFORMED_JSON', message);
}

/** What is said of a file in which malware was found. */
export const NOT_CLEAN = 'Malware was found in the file';

/** For a media that was not found. */
export function scannedAbsenceError(absence: Absence): MatrixError {
  switch (absence) {
    case 'infected':
      return mediaNotClean();
    case 'too_large':
    case 'unreachable':
    case 'refused':
      return new ScannerError(
        502,
        'MCS_MEDIA_REQUEST_FAILED',
        'The file could not be fetched, or is too large',
      );
    case 'not_found':
    case 'not_yet_uploaded':
    case 'unscanned':
    case 'busy':
      return absenceError(absence);
  }
}

/** For an encrypted file that is not clear. */
export function encryptedClearanceError(clearance: Exclude<Clearance, 'clear'>): MatrixError {
  return scannedAbsenceError(clearance === 'unavailable' ? 'unscanned' : clearance);
}

/** Any error as this API has it: those of Matrix say what they are in both ways. */
export function asScannerError(error: MatrixError): MatrixError {
  if (error instanceof ScannerError) return error;
  const { status, errcode, message, extras, headers } = error;
  if (errcode === 'M_NOT_JSON' || errcode === 'M_BAD_JSON') return malformedJson(message);
  return new MatrixError(status, errcode, message, {
    extras: { ...extras, reason: errcode, info: message },
    headers,
    cause: error,
  });
}
