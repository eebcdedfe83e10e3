/** What is behind links: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url */

import { Flights } from '#federation/flights.ts';
import { sha256 } from '#keys/hash.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { Lanes, LanesFull } from '#keys/lanes.ts';
import { mxcOf } from '#keys/mxc.ts';
import { NoSpace } from '#storage/blob-place.ts';
import * as urlPreviews from '#storage/url-previews.ts';
import type { PreviewsContext } from './context.ts';
import { type OpenGraph, openGraphOf, withOEmbed } from './open-graph.ts';
import { pageAddress } from './page-address.ts';
import { headOf } from './page-head.ts';
import { startOfPage, textOf } from './page-text.ts';
import {
  fetchPicture,
  isPicture,
  isThere,
  type KeptPicture,
  keepPicture,
  MOST_PICTURE_BYTES,
} from './preview-image.ts';
import { visit, type Web } from './visit.ts';

/**
 * - `forbidden`: the page may not be visited
 * - `failed`: it does not answer with anything to show
 * - `busy`: too many pages are being visited
 */
export type PreviewResult =
  | { readonly kind: 'found'; readonly preview: JsonObject }
  | { readonly kind: 'forbidden' | 'failed' | 'busy' };

/** "The server may return a newer version": what is older is made anew. */
export const PREVIEWS_KEPT_MS = 24 * 60 * 60_000;
const MOST_KEPT = 10_000;
const VISITS_AT_ONCE = 8;
const MOST_WAITING = 64;
const FAILURE_REMEMBERED_MS = 60_000;
const MOST_OEMBED_BYTES = 64 * 1024;
/** Of the pictures that a page names, how many are tried. */
const MOST_TRIED = 3;
const PAGES = 'text/html,application/xhtml+xml;q=0.9,image/*;q=0.8';

/** What a visit to the page brought. */
type Page =
  | { readonly kind: 'page'; readonly url: URL; readonly text: string }
  | { readonly kind: 'picture'; readonly picture: KeptPicture | undefined }
  | { readonly kind: 'other' };

/** Previews of links, each made once at a time and kept for a day. */
export class Previews {
  readonly #ctx: PreviewsContext;
  readonly #web: Web;
  readonly #flights: Flights<PreviewResult>;
  readonly #lanes = new Lanes(VISITS_AT_ONCE, MOST_WAITING);

  constructor(ctx: PreviewsContext, web: Web) {
    this.#ctx = ctx;
    this.#web = web;
    this.#flights = new Flights({
      clock: ctx.clock,
      isLasting: ({ kind }) => kind === 'failed',
      rememberedMs: FAILURE_REMEMBERED_MS,
    });
  }

  /** The preview of a page; `beforeVisit` is called before somebody is asked for it, and may throw. */
  async of(url: URL, beforeVisit: () => void): Promise<PreviewResult> {
    // Asked each time: the operator may have changed the lists since it was kept.
    if (!this.#web.mayVisit(url)) return { kind: 'forbidden' };
    const key = sha256(url.href).toString('hex');
    const kept = await this.#kept(key);
    if (kept !== undefined) return { kind: 'found', preview: kept };
    if (this.#flights.isNew(key)) beforeVisit();
    try {
      return await this.#flights.run(key, () => this.#lanes.run(() => this.#make(url, key)));
    } catch (error) {
      if (error instanceof LanesFull) return { kind: 'busy' };
      throw error;
    }
  }

  async #kept(key: string): Promise<JsonObject | undefined> {
    const { db, clock, serverName } = this.#ctx;
    const kept = await urlPreviews.of(db, key);
    if (kept === undefined || kept.createdTs <= clock.now() - PREVIEWS_KEPT_MS) return undefined;
    const { preview, picture } = kept;
    // Its picture may have gone, to make room.
    if (picture !== undefined && !(await isThere(this.#ctx, picture.mediaId))) return undefined;
    const uri = picture && { 'og:image': mxcOf({ server: serverName, mediaId: picture.mediaId }) };
    return { ...objectOf(preview), ...uri, ...(picture && objectOf(picture.about)) };
  }

  async #make(url: URL, key: string): Promise<PreviewResult> {
    const visited = await visit(this.#web, url, {
      accept: PAGES,
      maxBytes: MOST_PICTURE_BYTES,
      take: (body, { url: where, headers }) => this.#take(body, where, headers['content-type']),
    });
    if (visited.kind !== 'visited') {
      this.#ctx.log.debug({ url: url.origin, ...visited }, 'no preview of a page');
      return { kind: visited.kind };
    }
    const { fields, picture } = await this.#read(visited.value);
    const { db, clock } = this.#ctx;
    const kept = {
      preview: JSON.stringify(fields),
      picture: picture && { mediaId: picture.mediaId, about: JSON.stringify(picture.about) },
      createdTs: clock.now(),
    };
    await db.write('urlPreviews.put', (tx) => urlPreviews.put(tx, key, kept, MOST_KEPT));
    return { kind: 'found', preview: (await this.#kept(key)) ?? { ...fields } };
  }

  async #take(body: AsyncIterable<Buffer>, url: URL, contentType: string | undefined): Promise<Page> {
    if (isPicture(contentType)) {
      const taken = await this.#ctx.media.blobs.receive(body, MOST_PICTURE_BYTES);
      if (taken.kind !== 'received') return { kind: 'other' };
      await using file = taken.file;
      return { kind: 'picture', picture: await keepPicture(this.#ctx, file) };
    }
    if (contentType !== undefined && !/^(text\/html|application\/xhtml\+xml)\b/i.test(contentType))
      return { kind: 'other' };
    return { kind: 'page', url, text: textOf(await startOfPage(body), contentType) };
  }

  async #read(page: Page): Promise<{ fields: OpenGraph['fields']; picture?: KeptPicture | undefined }> {
    if (page.kind === 'other') return { fields: {} };
    if (page.kind === 'picture') return { fields: {}, picture: page.picture };
    const said = openGraphOf(await headOf(page.text));
    const isPoor = said.fields['og:title'] === undefined || said.images.length === 0;
    const told = isPoor ? await this.#withOEmbed(said, page.url) : said;
    return { fields: told.fields, picture: await this.#pictureOf(told, page.url) };
  }

  /** https://oembed.com/#section4: "Discovery". */
  async #withOEmbed(said: OpenGraph, base: URL): Promise<OpenGraph> {
    const url = said.oEmbed === undefined ? undefined : pageAddress(said.oEmbed, base);
    if (url === undefined) return said;
    const visited = await visit(this.#web, url, {
      accept: 'application/json',
      maxBytes: MOST_OEMBED_BYTES,
      take: async (body) => Buffer.concat(await Array.fromAsync(body)).toString(),
    });
    return visited.kind === 'visited' ? withOEmbed(said, parsed(visited.value)) : said;
  }

  async #pictureOf({ images }: OpenGraph, base: URL): Promise<KeptPicture | undefined> {
    for (const image of images.slice(0, MOST_TRIED)) {
      const url = pageAddress(image, base);
      // One after the other: the next is only asked for where this one is none.
      const picture = url && (await fetchPicture(this.#ctx, this.#web, url).catch(noneIfFull));
      if (picture !== undefined) return picture;
    }
    return undefined;
  }
}

/** A preview without its picture is better than none. */
function noneIfFull(error: unknown): undefined {
  if (error instanceof NoSpace || error instanceof LanesFull) return undefined;
  throw error;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not every site tells what it announces.
    return undefined;
  }
}

function objectOf(text: string): JsonObject {
  const value: unknown = JSON.parse(text);
  return isObject(value) ? value : {};
}
