/** The type of what was uploaded, where nobody said one that could be told on. */
export const UNKNOWN_TYPE = 'application/octet-stream';

const LONGEST_TYPE = 255;
const TYPE = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:[ \t]*;[\x20-\x7e\t]*)?$/;

/**
 * A content type as it may be stored and sent on: as it was given, "or reasonably close".
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid
 */
export function cleanContentType(given: string | undefined): string {
  const type = given?.trim() ?? '';
  return type.length <= LONGEST_TYPE && TYPE.test(type) ? type : UNKNOWN_TYPE;
}
