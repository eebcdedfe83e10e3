/** Types of images that thumbnails are made of, by their first bytes: what is said of a file is not to be trusted. */

export const imageTypes = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'] as const;
export type ImageType = (typeof imageTypes)[number];

/** How many bytes `imageTypeOf` looks at. */
export const SIGNATURE_BYTES = 12;

/** The type of an image that begins with these bytes; undefined for anything else. */
export function imageTypeOf(start: Buffer): ImageType | undefined {
  const text = start.toString('latin1', 0, SIGNATURE_BYTES);
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (text.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (text.startsWith('GIF87a') || text.startsWith('GIF89a')) return 'image/gif';
  if (text.startsWith('RIFF') && text.startsWith('WEBP', 8)) return 'image/webp';
  return undefined;
}
