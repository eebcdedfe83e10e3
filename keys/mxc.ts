/** Content URIs: https://spec.matrix.org/v1.19/client-server-api/#matrix-content-mxc-uris */

import { isServerName, type ServerName } from './ids.ts';

/** What an `mxc://` URI names. */
export interface Mxc {
  readonly server: ServerName;
  readonly mediaId: string;
}

/** "Only alphanumeric (`A-Za-z0-9`), `_` and `-` characters": nothing of it can be a path. */
const MEDIA_ID = /^[A-Za-z0-9_-]{1,255}$/;
const URI = /^mxc:\/\/([^/]+)\/([^/]+)$/;

/** What the URI names; undefined where it is none. */
export function parseMxc(uri: string): Mxc | undefined {
  const [, server, mediaId] = URI.exec(uri) ?? [];
  return isServerName(server) && isMediaId(mediaId) ? { server, mediaId } : undefined;
}

/** The URI of a media. */
export function mxcOf({ server, mediaId }: Mxc): string {
  return `mxc://${server}/${mediaId}`;
}

/** True for the id of a media. */
export function isMediaId(value: unknown): value is string {
  return typeof value === 'string' && MEDIA_ID.test(value);
}
