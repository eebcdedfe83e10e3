/**
 * The process that decodes images and makes thumbnails: a decoder that a hostile image brings down, or makes take all
 * memory, takes nothing with it. It gets one job at a time from `thumbnail-maker.ts`, and answers each.
 */

import { open } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import { setPriority } from 'node:os';
import sharp, { type Metadata, type Sharp } from 'sharp';
import type { ImageType } from './image-type.ts';
import type { WantedThumbnail } from './thumbnail-variant.ts';

export interface ThumbnailJob {
  readonly path: string;
  /** By the first bytes of the file. */
  readonly type: ImageType;
  readonly variant: WantedThumbnail;
}

/** To say how large the image is. */
export type MeasureJob = Omit<ThumbnailJob, 'variant'>;

/** In pixels, as it is shown. */
export interface ImageSize {
  readonly kind: 'measured';
  readonly width: number;
  readonly height: number;
}

/**
 * - `made`: the thumbnail
 * - `original`: the image is no larger than its thumbnail would be
 * - `too_large`: too many pixels to be decoded
 * - `unsupported`: it cannot be decoded
 */
export type ThumbnailOutcome =
  | { readonly kind: 'made'; readonly bytes: Uint8Array; readonly contentType: ImageType }
  | { readonly kind: 'original' | 'too_large' | 'unsupported' };

/** Of all frames together. Phones make images of 48 million. */
const MAX_PIXELS = 50_000_000;
const MAX_FRAMES = 200;
const MAX_MADE_BYTES = 16 * 1024 * 1024;
const JPEG_QUALITY = 80;
const WEBP_QUALITY = 75;
/** Behind the server itself. */
const LOW_PRIORITY = 10;
const CHUNK_HEADER_BYTES = 8;
const CHUNK_CHECKSUM_BYTES = 4;
const PNG_SIGNATURE_BYTES = 8;
const MOST_CHUNKS = 10_000;

let isCompiledKept = false;

setPriority(LOW_PRIORITY);
// One image at a time, by one thread, and nothing of it is kept.
sharp.cache(false);
sharp.concurrency(1);
// Only what the images are for that we pass on: none of the decoders of documents and vectors.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({
  operation: ['VipsForeignLoadJpeg', 'VipsForeignLoadPng', 'VipsForeignLoadNsgif', 'VipsForeignLoadWebp'],
});

process.on('disconnect', () => process.exit(0));
process.on('message', (job: ThumbnailJob | MeasureJob) => {
  const outcome = 'variant' in job ? thumbnailOf(job) : sizeOfImage(job);
  outcome
    .then(
      (outcome) => process.send?.(outcome),
      // What libvips says of a broken image is of no use to anybody.
      () => process.send?.({ kind: 'unsupported' } satisfies ThumbnailOutcome),
    )
    .then(keepCompiled);
});

/** Once, and now: at the end it would be too late, since the server does not ask the program to end. */
function keepCompiled(): void {
  if (!isCompiledKept) flushCompileCache();
  isCompiledKept = true;
}

async function thumbnailOf({ path, type, variant }: ThumbnailJob): Promise<ThumbnailOutcome> {
  const metadata = await sharp(path, { limitInputPixels: false, failOn: 'error' }).metadata();
  const { width, height } = metadata.autoOrient;
  if (width * height > MAX_PIXELS) return { kind: 'too_large' };
  const frames = await framesOf(path, type, metadata);
  const animated = variant.animated && type !== 'image/png' && isWithinLimits(metadata, frames);
  const size = sizeOf(variant, { width, height });
  const isSmaller = size.width === width && size.height === height;
  if (isSmaller && (frames === 1 || animated)) return { kind: 'original' };
  const moves = animated && frames > 1;
  const image = sharp(path, { animated: moves, limitInputPixels: MAX_PIXELS, failOn: 'error' });
  // Only single images are turned as their metadata says.
  const upright = moves ? image : image.autoOrient();
  const resized = upright.resize({ ...size, fit: 'cover' });
  const [encoded, contentType] = encode(resized, type, { animated: moves, metadata });
  const bytes = await encoded.toBuffer();
  return bytes.length > MAX_MADE_BYTES ? { kind: 'too_large' } : { kind: 'made', bytes, contentType };
}

async function sizeOfImage({ path }: MeasureJob): Promise<ImageSize> {
  const { autoOrient } = await sharp(path, { limitInputPixels: false, failOn: 'error' }).metadata();
  return { kind: 'measured', width: autoOrient.width, height: autoOrient.height };
}

/** "Servers MUST NOT upscale thumbnails under any circumstance." */
function sizeOf(variant: WantedThumbnail, image: { width: number; height: number }) {
  const [x, y] = [variant.width / image.width, variant.height / image.height];
  const factor = Math.min(1, variant.method === 'scale' ? Math.min(x, y) : Math.max(x, y));
  const width = Math.max(1, Math.round(image.width * factor));
  const height = Math.max(1, Math.round(image.height * factor));
  if (variant.method === 'scale') return { width, height };
  return { width: Math.min(variant.width, width), height: Math.min(variant.height, height) };
}

function isWithinLimits({ width, pageHeight, height }: Metadata, frames: number): boolean {
  return frames <= MAX_FRAMES && width * (pageHeight ?? height) * frames <= MAX_PIXELS;
}

/** In the type of the image where that is one for pictures of its kind. "Prefer to return `image/webp`" for movement. */
function encode(
  image: Sharp,
  type: ImageType,
  { animated, metadata }: { readonly animated: boolean; readonly metadata: Metadata },
): [Sharp, ImageType] {
  if (animated) return [image.webp({ quality: WEBP_QUALITY }), 'image/webp'];
  const isPhoto = type === 'image/jpeg' || (type === 'image/webp' && !metadata.hasAlpha);
  return isPhoto
    ? [image.jpeg({ quality: JPEG_QUALITY }), 'image/jpeg']
    : [image.png({ compressionLevel: 6 }), 'image/png'];
}

/** How many frames there are; of a PNG, whose frames libvips does not see, whether there is more than one. */
async function framesOf(path: string, type: ImageType, { pages = 1 }: Metadata): Promise<number> {
  return type === 'image/png' && (await isAnimatedPng(path)) ? Number.POSITIVE_INFINITY : pages;
}

/** "The `acTL` chunk must appear before the first `IDAT` chunk." */
async function isAnimatedPng(path: string): Promise<boolean> {
  await using file = await open(path, 'r');
  const header = Buffer.alloc(CHUNK_HEADER_BYTES);
  let at = PNG_SIGNATURE_BYTES;
  for (let count = 0; count < MOST_CHUNKS; count += 1) {
    // Chunk by chunk: each says where the next one begins.
    const { bytesRead } = await file.read(header, 0, CHUNK_HEADER_BYTES, at);
    const name = header.toString('latin1', 4);
    if (bytesRead < CHUNK_HEADER_BYTES || name === 'IDAT') return false;
    if (name === 'acTL') return true;
    at += CHUNK_HEADER_BYTES + header.readUInt32BE(0) + CHUNK_CHECKSUM_BYTES;
  }
  // Nobody writes so many by honest means.
  return true;
}
