/** The `Content-Disposition` header: RFC 6266, its file names by RFC 8187. */

/**
 * "Servers SHOULD restrict `Content-Type` headers to one of the following values when serving content with
 * `Content-Disposition: inline`": https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content
 */
const INLINE: ReadonlySet<string> = new Set([
  'text/css',
  'text/plain',
  'text/csv',
  'application/json',
  'application/ld+json',
  'image/jpeg',
  'image/gif',
  'image/png',
  'image/apng',
  'image/webp',
  'image/avif',
  'video/mp4',
  'video/webm',
  'video/ogg',
  'video/quicktime',
  'audio/mp4',
  'audio/webm',
  'audio/aac',
  'audio/mpeg',
  'audio/ogg',
  'audio/wave',
  'audio/wav',
  'audio/x-wav',
  'audio/x-pn-wav',
  'audio/flac',
  'audio/x-flac',
]);

const LONGEST_NAME = 255;
const PLAIN_NAME = /^[\x20-\x7e]+$/;
/** Of a value in quotes, what is between them. */
const QUOTED = /;\s*filename\s*=\s*"((?:[^"\\]|\\.)*)"/i;
const UNQUOTED = /;\s*filename\s*=\s*([^\s";]+)/i;
const EXTENDED = /;\s*filename\*\s*=\s*utf-8'[^']*'([^\s;]+)/i;

/** The header for a content of that type: shown in place where that is safe, else saved. */
export function dispositionOf(contentType: string, fileName: string | undefined): string {
  const [type = ''] = contentType.split(';', 1);
  const way = INLINE.has(type.trim().toLowerCase()) ? 'inline' : 'attachment';
  if (fileName === undefined || fileName === '') return way;
  if (PLAIN_NAME.test(fileName)) return `${way}; filename="${fileName.replaceAll(/["\\]/g, '\\$&')}"`;
  return `${way}; filename*=utf-8''${encodeExtended(fileName)}`;
}

/** The header for a thumbnail: it "MUST be `inline`, and SHOULD contain a file name (e.g. `thumbnail.png`)". */
export function thumbnailDisposition(type: string): string {
  return dispositionOf(type, `thumbnail.${type.replace(/^image\//, '')}`);
}

/** The file name in a header that another server sent; undefined where there is none. */
export function fileNameIn(disposition: string): string | undefined {
  const extended = EXTENDED.exec(disposition)?.[1];
  const decoded = extended === undefined ? undefined : decode(extended);
  const plain = QUOTED.exec(disposition)?.[1]?.replaceAll(/\\(.)/g, '$1') ?? UNQUOTED.exec(disposition)?.[1];
  return cleanFileName(decoded ?? plain ?? '');
}

/** A name as it may be stored: no control characters, and no longer than a file name can be. */
export function cleanFileName(name: string): string | undefined {
  const clean = name.toWellFormed().replaceAll(/\p{Cc}/gu, '');
  return clean === '' ? undefined : [...clean].slice(0, LONGEST_NAME).join('');
}

function decode(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

/** What RFC 8187 does not leave as it is, and `encodeURIComponent` does. */
function encodeExtended(name: string): string {
  return encodeURIComponent(name).replaceAll(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
