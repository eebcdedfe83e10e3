import type { MediaContext } from '#federation/media/context.ts';

/** What previews are made with. */
export type PreviewsContext = Pick<MediaContext, 'serverName' | 'db' | 'clock' | 'log' | 'media'>;
