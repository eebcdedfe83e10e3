import type { Speech } from '../languages/choose.ts';

/** A time as people of a language write it; in UTC, since the server does not know where they are. */
export function dateText(ms: number, { language }: Pick<Speech, 'language'>): string {
  const format = new Intl.DateTimeFormat(language, {
    ...{ dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' },
  });
  return `${format.format(ms)} UTC`;
}
