/** What a page says of itself as previews have it: https://ogp.me/ */

import { isObject, stringAt } from '#keys/json.ts';
import type { PageHead } from './page-head.ts';

/** The text of a preview, and where more of it is. */
export interface OpenGraph {
  readonly fields: Readonly<Record<string, string>>;
  /** Where its picture may be, the best one first. */
  readonly images: readonly string[];
  /** Where the site tells more about the page: https://oembed.com/ */
  readonly oEmbed: string | undefined;
}

const LONGEST_VALUE = 1_000;
const MOST_FIELDS = 40;
/** Of all fields together. */
const MOST_BYTES = 16 * 1024;
const NAME = /^og:[a-z0-9:_-]{1,47}$/;
/** Addresses of others, which clients would go to by themselves; of pictures we say what we have found. */
const MEDIA = /^og:(image|video|audio)(:|$)/;
const OEMBED_TYPES: ReadonlySet<string> = new Set(['application/json+oembed', 'text/json+oembed']);
const ICONS = ['image_src', 'apple-touch-icon', 'icon'];

/** What is said of a page by OpenGraph, and what is missing there by what else it says. */
export function openGraphOf({ title, metas, links }: PageHead): OpenGraph {
  const fields: [string, string][] = [];
  const first = (...names: string[]) => names.map((name) => metas.get(name)).find((value) => value);
  fields.push(['og:title', first('og:title', 'twitter:title') ?? title]);
  fields.push(['og:description', first('og:description', 'twitter:description', 'description') ?? '']);
  fields.push(...[...metas].filter(([name]) => NAME.test(name) && !MEDIA.test(name)));
  const named = ['og:image:secure_url', 'og:image', 'og:image:url', 'twitter:image', 'twitter:image:src'];
  const shown = named.map((name) => metas.get(name)).filter((value) => value !== undefined);
  const linked = ICONS.flatMap((rel) =>
    links.filter(({ rels }) => rels.includes(rel)).map(({ href }) => href),
  );
  const oEmbed = links.find(({ rels, type }) => rels.includes('alternate') && OEMBED_TYPES.has(type));
  return { fields: bounded(fields), images: [...shown, ...linked], oEmbed: oEmbed?.href };
}

/** What was said of a page, completed by what its site tells of it. */
export function withOEmbed(page: OpenGraph, answer: unknown): OpenGraph {
  if (!isObject(answer)) return page;
  const text = (name: string) => stringAt(answer, name) ?? '';
  const told: [string, string][] = [
    ['og:title', text('title')],
    ['og:site_name', text('provider_name')],
    ['og:description', text('author_name')],
  ];
  const isPhoto = stringAt(answer, 'type') === 'photo';
  const images = [text('thumbnail_url'), isPhoto ? text('url') : ''].filter((url) => url !== '');
  // What the page says itself goes first, but a picture is a better one than the icon of the site.
  const fields = bounded([...Object.entries(page.fields), ...told]);
  return { ...page, fields, images: [...images, ...page.images] };
}

/** The first of each name, as one line, no longer and no more than is of use. */
function bounded(fields: readonly (readonly [string, string])[]): Record<string, string> {
  const kept = new Map<string, string>();
  let bytes = 0;
  for (const [name, given] of fields) {
    const value = lineOf(given);
    const more = Buffer.byteLength(JSON.stringify([name, value]));
    if (value === '' || kept.has(name) || kept.size >= MOST_FIELDS || bytes + more > MOST_BYTES) continue;
    kept.set(name, value);
    bytes += more;
  }
  return Object.fromEntries(kept);
}

function lineOf(text: string): string {
  const line = text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return line.slice(0, LONGEST_VALUE).toWellFormed();
}
