/** What a file is by its first bytes, as far as it is one of these: what is said of a file is not to be trusted. */

import { imageTypeOf } from '#federation/media/image-type.ts';

/** How many bytes `contentTypeOf` looks at. */
export const LOOKED_AT_BYTES = 4_096;
export const UNKNOWN_TYPE = 'application/octet-stream';

/** By how a file begins; `at`: where these bytes are. */
const SIGNATURES: readonly (readonly [type: string, bytes: string, at?: number])[] = [
  ['application/pdf', '%PDF-'],
  ['application/postscript', '%!PS'],
  ['application/rtf', '{\\rtf'],
  ['application/x-ole-storage', '\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1'],
  ['application/x-msdownload', 'MZ'],
  ['application/x-executable', '\x7fELF'],
  ['application/x-mach-binary', '\xcf\xfa\xed\xfe'],
  ['application/x-mach-binary', '\xca\xfe\xba\xbe'],
  ['application/wasm', '\0asm'],
  ['text/x-shellscript', '#!'],
  ['application/gzip', '\x1f\x8b'],
  ['application/x-7z-compressed', '7z\xbc\xaf\x27\x1c'],
  ['application/vnd.rar', 'Rar!\x1a\x07'],
  ['application/x-xz', '\xfd7zXZ\0'],
  ['application/x-bzip2', 'BZh'],
  ['application/zstd', '\x28\xb5\x2f\xfd'],
  ['application/x-tar', 'ustar', 257],
  ['application/vnd.sqlite3', 'SQLite format 3\0'],
  ['image/bmp', 'BM'],
  ['image/tiff', 'II*\0'],
  ['image/tiff', 'MM\0*'],
  ['image/x-icon', '\0\0\x01\0'],
  ['image/jxl', '\xff\x0a'],
  ['image/jxl', '\0\0\0\x0cJXL '],
  ['audio/ogg', 'OggS'],
  ['audio/flac', 'fLaC'],
  ['audio/mpeg', 'ID3'],
  ['audio/mpeg', '\xff\xfb'],
  ['audio/aac', '\xff\xf1'],
  ['audio/amr', '#!AMR'],
  ['audio/midi', 'MThd'],
  ['video/webm', '\x1a\x45\xdf\xa3'],
];
/** Of a file in the form of ISO media ("ftyp"), by its brand. */
const BRANDS: readonly (readonly [type: string, brand: RegExp])[] = [
  ['image/avif', /^avi[fs]/],
  ['image/heic', /^(hei[cxms]|hev[cxms]|mif1|msf1)/],
  ['audio/mp4', /^M4[AB]/],
  ['video/quicktime', /^qt/],
  ['video/3gpp', /^3g/],
  ['video/mp4', /./],
];
const IN_RIFF: ReadonlyMap<string, string> = new Map([
  ['WAVE', 'audio/wav'],
  ['AVI ', 'video/x-msvideo'],
]);
/** Of a ZIP archive, by what the names of its first files begin with. */
const IN_ZIP: readonly (readonly [type: string, name: string])[] = [
  ['application/vnd.openxmlformats-officedocument.wordprocessingml.document', 'word/'],
  ['application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', 'xl/'],
  ['application/vnd.openxmlformats-officedocument.presentationml.presentation', 'ppt/'],
  ['application/java-archive', 'META-INF/'],
  ['application/vnd.android.package-archive', 'AndroidManifest.xml'],
];
const ZIP_NAME_AT = 30;
const ZIP_NAME_LENGTH_AT = 26;
const OPEN_DOCUMENT = /^mimetype(application\/(?:vnd\.oasis\.opendocument\.[a-z-]{1,40}|epub\+zip))/;
const MARKUP =
  /^\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--[^>]{0,500}-->\s*)?<(!doctype\s+)?(html|head|body|script|svg)\b/i;
const NOT_TEXT = /[^\P{Cc}\s\x80-\x9f]/u;
/** Text may begin with these letters by chance. */
const FEW_LETTERS = /^[ -~]{1,3}$/;

/**
 * The type of a file that begins with these bytes. What is none of these is `text/plain` where it may be text, else
 * `application/octet-stream`.
 */
export function contentTypeOf(start: Buffer): string {
  const text = start.toString('latin1', 0, LOOKED_AT_BYTES);
  return (
    imageTypeOf(start) ??
    (text.startsWith('PK\x03\x04') ? zipTypeOf(start, text) : undefined) ??
    isoTypeOf(text) ??
    (text.startsWith('RIFF') ? IN_RIFF.get(text.slice(8, 12)) : undefined) ??
    signedTypeOf(text) ??
    textTypeOf(text)
  );
}

function signedTypeOf(text: string): string | undefined {
  const isText = !NOT_TEXT.test(text);
  const found = SIGNATURES.filter(([type, bytes, at = 0]) => {
    const isByChance = isText && FEW_LETTERS.test(bytes) && !type.startsWith('text/');
    return text.startsWith(bytes, at) && !isByChance;
  });
  // The longest one, of those that begin alike.
  return found.sort(([, one], [, other]) => other.length - one.length)[0]?.[0];
}

function zipTypeOf(start: Buffer, text: string): string {
  const opened = OPEN_DOCUMENT.exec(text.slice(ZIP_NAME_AT))?.[1];
  if (opened !== undefined) return opened;
  for (let at = 0; at >= 0; at = text.indexOf('PK\x03\x04', at + 4)) {
    if (at + ZIP_NAME_AT > start.length) break;
    const from = at + ZIP_NAME_AT;
    const name = text.slice(from, from + start.readUInt16LE(at + ZIP_NAME_LENGTH_AT));
    const found = IN_ZIP.find(([, beginning]) => name.startsWith(beginning));
    if (found !== undefined) return found[0];
  }
  return 'application/zip';
}

function isoTypeOf(text: string): string | undefined {
  if (!text.startsWith('ftyp', 4)) return undefined;
  return BRANDS.find(([, brand]) => brand.test(text.slice(8, 12)))?.[0];
}

function textTypeOf(text: string): string {
  const plain = text.replace(/^\xef\xbb\xbf/, '');
  const kind = MARKUP.exec(plain)?.[2]?.toLowerCase();
  if (kind === 'svg') return 'image/svg+xml';
  if (kind !== undefined) return 'text/html';
  if (plain === '' || NOT_TEXT.test(plain)) return UNKNOWN_TYPE;
  return /^\s*<\?xml\b/.test(plain) ? 'application/xml' : 'text/plain';
}
