/** Whether one of our users may relate an event to another: what clients are refused, and other servers are not. */

import * as relations from '#storage/relations.ts';
import type { RoomsContext } from '../context.ts';
import type { Event } from '../event.ts';
import { loadEvent, loadNids } from '../load.ts';
import type { RedactionEffect } from '../redaction.ts';
import { annotationKeyOf, relationOf } from './relation.ts';

export interface RefusedRelation {
  readonly kind: 'duplicate_annotation' | 'bad_relation';
  readonly reason: string;
}

/** Events of one sender and type that annotate one event: beyond these, the oldest are not compared. */
const MOST_COMPARED = 500;

/** An event that is to be written before the one in question, and what it redacts. */
interface EarlierDraft {
  readonly event: Event;
  readonly redacts: RedactionEffect | undefined;
}

/** Why an event of our own may not relate as it does; undefined where it may. `earlier`: not written yet. */
export async function refusedRelation(
  ctx: RoomsContext,
  roomNid: number,
  event: Event,
  earlier: readonly EarlierDraft[],
): Promise<RefusedRelation | undefined> {
  const relation = relationOf(event.content);
  if (relation?.relType === 'm.annotation') {
    const of = { roomNid, parentId: relation.parentId, relType: relation.relType };
    const nids = await relations.ofSender(ctx.db, of, event, MOST_COMPARED);
    const redacted = new Set(earlier.map(({ redacts }) => (redacts?.kind === 'redact' ? redacts.nid : 0)));
    const stored = await loadNids(
      ctx,
      nids.filter((nid) => !redacted.has(nid)),
    );
    const others = [
      ...[...stored.values()].map((known) => known.event),
      ...earlier.map((draft) => draft.event),
    ];
    // "Homeservers should prevent users from sending a second annotation for a given event with identical event type
    // and annotation key (unless the first event has been redacted)."
    if (others.some((other) => isSameAnnotation(other, event))) {
      return { kind: 'duplicate_annotation', reason: 'The event is annotated so already' };
    }
  }
  if (relation?.relType === 'm.thread') {
    const root = await loadEvent(ctx, relation.parentId);
    // "Servers SHOULD reject client requests which attempt to start a thread off an event with an m.relates_to
    // property", which means one "with a rel_type property": a reply may be a root.
    if (root !== undefined && root.roomNid === roomNid && relationOf(root.event.content) !== undefined)
      return { kind: 'bad_relation', reason: 'An event that relates to another cannot begin a thread' };
  }
  return undefined;
}

function isSameAnnotation(one: Event, other: Event): boolean {
  if (one.sender !== other.sender || one.type !== other.type) return false;
  const [first, second] = [relationOf(one.content), relationOf(other.content)];
  return (
    first?.relType === 'm.annotation' &&
    second?.relType === 'm.annotation' &&
    first.parentId === second.parentId &&
    annotationKeyOf(one.content) === annotationKeyOf(other.content)
  );
}
