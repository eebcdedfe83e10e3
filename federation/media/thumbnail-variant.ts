/**
 * Which thumbnails there are: a few fixed sizes, so that nobody can ask for ever new ones.
 * https://spec.matrix.org/v1.19/client-server-api/#thumbnails
 */

export const thumbnailMethods = ['crop', 'scale'] as const;

/** What is asked for: the size in pixels that the thumbnail should have at least. */
export interface WantedThumbnail {
  readonly width: number;
  readonly height: number;
  readonly method: (typeof thumbnailMethods)[number];
  readonly animated: boolean;
}

/** "Servers SHOULD produce thumbnails with the following dimensions and methods", and some for sharper screens. */
const SIZES = {
  crop: [
    [32, 32],
    [96, 96],
    [192, 192],
    [320, 240],
    [320, 320],
    [640, 480],
    [640, 640],
  ],
  scale: [
    [320, 240],
    [640, 480],
    [800, 600],
    [1_600, 1_200],
  ],
} as const;
/** For what is larger than all of them: the image as it is, but for movement that nobody wants. */
const WHOLE = 65_535;

/** The smallest thumbnail there is that is no smaller than what is wanted. */
export function variantFor({ width, height, method, animated }: WantedThumbnail): WantedThumbnail {
  const fitting = SIZES[method].find(([w, h]) => w >= width && h >= height);
  if (fitting === undefined) return { width: WHOLE, height: WHOLE, method: 'scale', animated };
  return { width: fitting[0], height: fitting[1], method, animated };
}

/** The variant's name, such as `320x240-scale`. */
export function variantName({ width, height, method, animated }: WantedThumbnail): string {
  return `${width}x${height}-${method}${animated ? '-animated' : ''}`;
}
