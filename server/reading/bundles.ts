/**
 * Events with what relates to them, as `unsigned["m.relations"]`:
 * https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
 */

import type { RoomsContext } from '#rooms/context.ts';
import {
  type Bundle,
  type BundleReader,
  bundlesOf,
  type ThreadBundle,
} from '#rooms/relations/bundled-relations.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import type { Requester } from '../auth/requester.ts';
import { type RenderOptions, renderFor, textsOf } from '../sync/format.ts';
import { ignoredBy } from './ignored-users.ts';

type Reader = Pick<Requester, 'userId' | 'deviceId'>;

/** Events of one room as a user sees them who may see them: whole, in their order, with what relates to each. */
export async function bundledTextsFor(
  ctx: RoomsContext,
  requester: Reader,
  events: readonly StoredEvent[],
  options: Omit<RenderOptions, 'relations'>,
): Promise<string[]> {
  const bundles = await bundlesOf(ctx, bundleReader(ctx, requester), events);
  return renderFor(ctx, requester, await textsOf(ctx, events), {
    ...options,
    relations: await bundleTexts(ctx, requester, bundles),
  });
}

/** One of our users as a reader of what relates to events. */
export function bundleReader(ctx: RoomsContext, { userId }: Pick<Requester, 'userId'>): BundleReader {
  return { userId, ignored: () => ignoredBy(ctx.db, userId) };
}

/** `m.relations` of events, by numeric id. */
export async function bundleTexts(
  ctx: RoomsContext,
  requester: Reader,
  bundles: ReadonlyMap<number, Bundle>,
): Promise<Map<number, string>> {
  if (bundles.size === 0) return new Map();
  const latest = [...bundles.values()].flatMap(({ thread }) => (thread === undefined ? [] : [thread.latest]));
  // The last event of a thread is itself a child, and so has no thread: nothing is nested deeper than this.
  const ofLatest = await bundlesOf(ctx, bundleReader(ctx, requester), latest);
  const edits = [...bundles.values(), ...ofLatest.values()].flatMap(({ edit }) => edit ?? []);
  const editTexts = await childTexts(ctx, requester, edits);
  const relations = new Map<number, string>();
  for (const [nid, bundle] of ofLatest) relations.set(nid, relationsText(bundle, editTexts, undefined));
  const latestTexts = await childTexts(ctx, requester, latest, relations);
  const texts = new Map<number, string>();
  for (const [nid, bundle] of bundles) {
    const { thread } = bundle;
    const threadJson = thread && threadText(thread, latestTexts.get(thread.latest.nid));
    texts.set(nid, relationsText(bundle, editTexts, threadJson));
  }
  return texts;
}

/** Events that are shown within others. In whatever answer: with their `room_id`, which nobody else would tell. */
async function childTexts(
  ctx: RoomsContext,
  requester: Reader,
  events: readonly StoredEvent[],
  relations: ReadonlyMap<number, string> = new Map(),
): Promise<Map<number, string>> {
  const options = { withRoomId: true, relations };
  const texts = await renderFor(ctx, requester, await textsOf(ctx, events), options);
  return new Map(events.map(({ nid }, index) => [nid, texts[index] ?? '{}']));
}

function relationsText(
  { edit, references }: Bundle,
  editTexts: ReadonlyMap<number, string>,
  thread: string | undefined,
): string {
  const members: string[] = [];
  if (edit !== undefined) members.push(`"m.replace":${editTexts.get(edit.nid) ?? '{}'}`);
  if (references.length > 0) {
    const chunk = references.map((eventId) => ({ event_id: eventId }));
    members.push(`"m.reference":${JSON.stringify({ chunk })}`);
  }
  if (thread !== undefined) members.push(`"m.thread":${thread}`);
  return `{${members.join(',')}}`;
}

function threadText({ events, participated }: ThreadBundle, latest = '{}'): string {
  return `{"latest_event":${latest},"count":${events},"current_user_participated":${participated}}`;
}
