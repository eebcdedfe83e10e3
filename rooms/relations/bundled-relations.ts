/**
 * What clients are shown of the events that relate to one:
 * https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
 *
 * - `m.replace`: the most recent valid edit;
 * - `m.thread`: how many events a thread has, and the last of them;
 * - `m.reference`: the ids of the events that refer to it.
 *
 * "`m.annotation` relationships are not aggregated", and "state events do not currently receive bundled aggregations".
 * What the reader may not see, and what those they ignore have sent, does not count.
 */

import type { EventId, UserId } from '#keys/ids.ts';
import * as table from '#storage/relation-summaries.ts';
import * as relations from '#storage/relations.ts';
import type { RoomsContext } from '../context.ts';
import { loadNids } from '../load.ts';
import type { StoredEvent } from '../stored-event.ts';
import { visibleTo, visibleUpto } from '../visibility.ts';
import { relationOf } from './relation.ts';

/** What relates to an event. */
export interface Bundle {
  readonly edit: StoredEvent | undefined;
  readonly thread: ThreadBundle | undefined;
  /** Oldest first; the newest 100 where there are more. */
  readonly references: readonly EventId[];
}

export interface ThreadBundle {
  /** The last event of the thread. */
  readonly latest: StoredEvent;
  /** "`count` is simply the number of events using m.thread as a rel_type pointing to the target event." */
  readonly events: number;
  /** "`current_user_participated` is `true` when the authenticated user is" the sender of the root or of one of them. */
  readonly participated: boolean;
}

export interface BundleReader {
  readonly userId: UserId;
  /** Whom they ignore: asked for only where something relates to an event. */
  ignored(): Promise<ReadonlySet<string>>;
}

const MOST_REFERENCES = { most: 100, mostOfAll: 1_000 };

/** What relates to events of one room, by numeric id; those that nothing relates to are absent. */
export async function bundlesOf(
  ctx: RoomsContext,
  { userId, ignored }: BundleReader,
  events: readonly StoredEvent[],
): Promise<Map<number, Bundle>> {
  const messages = events.filter(({ event }) => event.stateKey === undefined);
  const [first] = messages;
  if (first === undefined) return new Map();
  const { roomNid } = first;
  const ids = messages.map(({ event }) => event.eventId);
  const parents = await relations.parentsAmong(ctx.db, roomNid, ids);
  if (parents.size === 0) return new Map();

  const reader = { userId, ignored: await ignored(), upto: await visibleUpto(ctx, roomNid, userId) };
  const summaries = await table.summaries(ctx.db, roomNid, parents, reader);
  const referredTo = [...summaries.values()].filter(({ hasReferences }) => hasReferences);
  const references = await table.references(
    ctx.db,
    referredTo.map(({ parentNid }) => parentNid),
    reader,
    MOST_REFERENCES,
  );
  const children = await visibleChildren(ctx, roomNid, reader, { summaries: summaries.values(), references });
  const bundles = new Map<number, Bundle>();
  for (const parent of messages) {
    const summary = summaries.get(parent.event.eventId);
    const bundle = summary && bundleOf(parent, summary, { userId, children, references });
    if (bundle !== undefined) bundles.set(parent.nid, bundle);
  }
  return bundles;
}

/** All children that may be shown, by numeric id. */
async function visibleChildren(
  ctx: RoomsContext,
  roomNid: number,
  { userId, ignored }: table.SummaryReader,
  named: {
    readonly summaries: Iterable<table.Summary>;
    readonly references: ReadonlyMap<number, readonly number[]>;
  },
): Promise<Map<number, StoredEvent>> {
  const nids = new Set<number>([...named.references.values()].flat());
  for (const { editNid, thread } of named.summaries) {
    if (editNid !== undefined) nids.add(editNid);
    if (thread !== undefined) nids.add(thread.latestNid);
  }
  const loaded = [...(await loadNids(ctx, nids)).values()];
  const visible = await visibleTo(ctx, roomNid, { userId }, loaded);
  const shown = loaded.filter(
    (stored, index) => visible[index] === true && !ignored.has(stored.event.sender),
  );
  return new Map(shown.map((stored) => [stored.nid, stored]));
}

function bundleOf(
  parent: StoredEvent,
  { parentNid, editNid, thread }: table.Summary,
  found: {
    readonly userId: UserId;
    readonly children: ReadonlyMap<number, StoredEvent>;
    readonly references: ReadonlyMap<number, readonly number[]>;
  },
): Bundle | undefined {
  const { children } = found;
  const edit = editNid !== undefined && mayBeEdited(parent) ? children.get(editNid) : undefined;
  const latest = thread !== undefined && mayHaveThread(parent) ? children.get(thread.latestNid) : undefined;
  const referring = (found.references.get(parentNid) ?? []).map((nid) => children.get(nid));
  const references = referring.filter((stored) => stored !== undefined).map(({ event }) => event.eventId);
  if (edit === undefined && latest === undefined && references.length === 0) return undefined;
  const participated = thread?.isOwn === true || parent.event.sender === found.userId;
  return {
    edit,
    thread: latest && { latest, events: thread?.events ?? 0, participated },
    references,
  };
}

/**
 * "If the original event is redacted, any m.replace relationship should not be bundled with it", and "the original
 * event must not, itself, have a rel_type of m.replace".
 */
function mayBeEdited({ event, redactedBy }: StoredEvent): boolean {
  return redactedBy === undefined && relationOf(event.content)?.relType !== 'm.replace';
}

/** "It is not possible to create a thread from an event which itself is the child of an event relationship." */
export function mayHaveThread({ event }: StoredEvent): boolean {
  return relationOf(event.content) === undefined;
}
