/** Threads of a room: https://spec.matrix.org/v1.19/client-server-api/#threading */

import type { EventId, UserId } from '#keys/ids.ts';
import { threads } from '#storage/relation-summaries.ts';
import type { RoomsContext } from '../context.ts';
import { loadEvent, loadEvents } from '../load.ts';
import { redactedEvent } from '../redaction.ts';
import type { StoredEvent } from '../stored-event.ts';
import { visibleTo } from '../visibility.ts';
import { type Bundle, type BundleReader, bundlesOf } from './bundled-relations.ts';
import { relationOf } from './relation.ts';

/** "A maximum of 3 hops is recommended to cover indirect relationships." */
const MOST_HOPS = 3;
/** Pages that are read in search of threads that are asked for. */
const MOST_PAGES = 5;
const FEWEST_READ = 20;
const END = Number.MAX_SAFE_INTEGER;

/**
 * In which thread of its room an event is: that of a root, or `main`. "Thread roots are considered to be in the main
 * timeline, as are events that are related to a thread root via non-thread relations."
 */
export async function threadOf(ctx: RoomsContext, stored: StoredEvent): Promise<EventId | 'main'> {
  let current: StoredEvent | undefined = stored;
  // One after the other: each leads to the next. The last hop is the one to the root.
  for (let hops = 0; hops < MOST_HOPS && current?.roomNid === stored.roomNid; hops++) {
    const relation = relationOf(current.event.content);
    if (relation === undefined) return 'main';
    if (relation.relType === 'm.thread') return relation.parentId;
    current = await loadEvent(ctx, relation.parentId);
  }
  return 'main';
}

/**
 * Whether an event has to do with a thread: it is in it, is its root, or relates to the root in any way over a few
 * hops. A receipt for such an event may be one of the thread.
 */
export async function isRelatedToThread(
  ctx: RoomsContext,
  stored: StoredEvent,
  rootId: EventId,
): Promise<boolean> {
  let current: StoredEvent | undefined = stored;
  // One after the other: each leads to the next.
  for (let hops = 0; hops <= MOST_HOPS && current?.roomNid === stored.roomNid; hops++) {
    if (current.event.eventId === rootId) return true;
    const relation = relationOf(current.event.content);
    if (relation === undefined) return false;
    if (relation.parentId === rootId) return true;
    current = await loadEvent(ctx, relation.parentId);
  }
  return false;
}

export interface ThreadPage {
  /** The roots, that with the newest last event first. */
  readonly roots: readonly StoredEvent[];
  /** What relates to them, by numeric id. */
  readonly bundles: ReadonlyMap<number, Bundle>;
  /** Where the next page begins; undefined where there is none. */
  readonly end: number | undefined;
}

/**
 * Threads of a room as one user sees them, from a position on, back: at most `limit` of those whose root the user may
 * see, and with `participated` only those in which they have taken part. May be empty although more follow.
 */
export async function threadPage(
  ctx: RoomsContext,
  roomNid: number,
  reader: BundleReader,
  range: { readonly from?: number | undefined; readonly limit: number; readonly participated: boolean },
): Promise<ThreadPage> {
  const { limit, participated } = range;
  const ignored = await reader.ignored();
  const roots: StoredEvent[] = [];
  const bundles = new Map<number, Bundle>();
  let from: number | undefined = range.from ?? END;
  for (let pages = 0; from !== undefined && roots.length < limit && pages < MOST_PAGES; pages++) {
    const count = Math.max(limit, FEWEST_READ);
    // Where a page begins depends on the page before it.
    const rows = await threads(ctx.db, roomNid, from, count);
    const rootIds = rows.map(({ rootId }) => rootId);
    const visible = await visibleRoots(ctx, roomNid, reader.userId, rootIds);
    const found = await bundlesOf(ctx, reader, [...visible.values()]);
    from = rows.length === count ? (rows.at(-1)?.latest ?? END) - 1 : undefined;
    for (const { rootId, latest } of rows) {
      const root = visible.get(rootId);
      const bundle = root && found.get(root.nid);
      if (root === undefined || bundle?.thread === undefined) continue;
      if (participated && !bundle.thread.participated) continue;
      if (roots.length === limit) {
        from = latest;
        break;
      }
      roots.push(ignored.has(root.event.sender) ? redactedFor(root) : root);
      bundles.set(root.nid, bundle);
    }
  }
  const latestOf = ({ nid }: StoredEvent) => bundles.get(nid)?.thread?.latest.position ?? 0;
  // Where users are ignored, the last event that counts may be an earlier one.
  return { roots: roots.sort((a, b) => latestOf(b) - latestOf(a)), bundles, end: from };
}

/** "If the thread root event was sent by an ignored user, the event is returned redacted to the caller." */
function redactedFor(root: StoredEvent): StoredEvent {
  return { ...root, event: redactedEvent(root.event) };
}

async function visibleRoots(
  ctx: RoomsContext,
  roomNid: number,
  userId: UserId,
  rootIds: readonly EventId[],
): Promise<Map<EventId, StoredEvent>> {
  const roots = [...(await loadEvents(ctx, rootIds)).values()];
  const visible = await visibleTo(ctx, roomNid, { userId }, roots);
  const shown = roots.filter((_, index) => visible[index] === true);
  return new Map(shown.map((stored) => [stored.event.eventId, stored]));
}
