/** Uploads, downloads and images, for tests. */

import assert from 'node:assert/strict';
import sharp from 'sharp';
import { parseMxc } from '#keys/mxc.ts';
import { type RequestOptions, request, type Target, type TestClient } from './client.ts';

export interface UploadOptions {
  readonly type?: string;
  readonly name?: string;
}

/** Uploads bytes or text, and answers their URI. */
export async function upload(
  client: TestClient,
  body: Uint8Array | string,
  { type = 'application/octet-stream', name }: UploadOptions = {},
): Promise<string> {
  const query = name === undefined ? '' : `?filename=${encodeURIComponent(name)}`;
  const answer = await request(client.server, 'POST', `/_matrix/media/v3/upload${query}`, {
    body,
    token: client.accessToken,
    headers: { 'content-type': type },
  });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body.content_uri;
}

export interface Downloaded {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  /** Where the body is JSON that says so. */
  readonly errcode: string | undefined;
}

/** A GET of which the body is bytes. `path` from `/_matrix/` on. */
export async function getBytes(
  server: Target,
  path: string,
  { token, headers = {} }: Pick<RequestOptions, 'token' | 'headers'> = {},
): Promise<Downloaded> {
  const response = await fetch(`${server.clientUrl}${path}`, {
    headers: { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const isError = response.status >= 400;
  const errcode = isError ? JSON.parse(bytes.toString()).errcode : undefined;
  return { status: response.status, headers: response.headers, bytes, errcode };
}

/** Downloads a media as a client does; `more` follows the URI's parts in the path. */
export function download(
  client: TestClient,
  uri: string,
  { more = '', headers = {} }: { more?: string; headers?: Readonly<Record<string, string>> } = {},
): Promise<Downloaded> {
  const path = `/_matrix/client/v1/media/download/${partsOf(uri)}${more}`;
  return getBytes(client.server, path, { token: client.accessToken, headers });
}

/** Asks for a thumbnail as a client does. */
export function thumbnail(
  client: TestClient,
  uri: string,
  query: Readonly<Record<string, string | number | boolean>>,
): Promise<Downloaded> {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) text.set(name, String(value));
  const path = `/_matrix/client/v1/media/thumbnail/${partsOf(uri)}?${text}`;
  return getBytes(client.server, path, { token: client.accessToken });
}

/** `server/mediaId`, as in the paths of the API. */
export function partsOf(uri: string): string {
  const mxc = parseMxc(uri);
  assert.ok(mxc, `${uri} is not a content URI`);
  return `${mxc.server}/${mxc.mediaId}`;
}

/** A picture of a format, whose pixels are all one colour. */
export function picture(
  width: number,
  height: number,
  format: 'png' | 'jpeg' | 'webp' | 'gif' = 'png',
): Promise<Buffer> {
  const create = { width, height, channels: 3, background: '#3068a0' } as const;
  return sharp({ create }).toFormat(format).toBuffer();
}

/** A picture whose frames follow each other. */
export async function movingPicture(width: number, height: number, format: 'gif' | 'webp'): Promise<Buffer> {
  const frames = ['#f00', '#0f0', '#00f'].map((background) =>
    sharp({ create: { width, height, channels: 3, background } })
      .png()
      .toBuffer(),
  );
  return sharp(await Promise.all(frames), { join: { animated: true } })
    .toFormat(format)
    .toBuffer();
}
