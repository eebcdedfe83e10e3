/**
 * Room events as clients get them: https://spec.matrix.org/v1.19/client-server-api/#room-event-format
 *
 * As text, cut where goes in what depends on the moment and on the reader, so that an event that many clients
 * wait for is written once.
 */

import type { EventId } from '#keys/ids.ts';
import { own } from '#keys/json.ts';
import { STICKY_MEMBER } from '#rooms/build-event.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { erasedFor } from '#rooms/erasure.ts';
import { type Event, stateMapKey } from '#rooms/event.ts';
import { loadEvents } from '#rooms/load.ts';
import { redactedEvent } from '#rooms/redaction.ts';
import { stateOfGroup } from '#rooms/room-head.ts';
import { stickyMsOf, stickyUntil } from '#rooms/sticky.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { membershipsAt, visibleTo } from '#rooms/visibility.ts';
import type { Requester } from '../auth/requester.ts';

/** An event as text, but for its end: the age, and what not everybody is shown of `unsigned`. */
export interface EventText {
  readonly stored: StoredEvent;
  /** From the first brace up to the age. */
  readonly head: string;
  /** What everybody is shown of `unsigned`, after the age; each member begins with a comma. */
  readonly unsigned: string;
  /** The state event that it replaced, with `prev_content` and who sent it, for those who may see that event. */
  readonly replaced: { readonly stored: StoredEvent; readonly unsigned: string } | undefined;
}

/** What one reader is shown of an event, at one moment. */
export interface Shown {
  /** Milliseconds since 1970. */
  readonly now: number;
  /** The reader's membership at the event. */
  readonly membership?: string | undefined;
  readonly showsPrevContent?: boolean;
  /** The device that reads: the sender's own is told its transaction id. */
  readonly device?: Pick<Requester, 'userId' | 'deviceId'>;
  /** What relates to it (`reading/bundles.ts`). */
  readonly relations?: string | undefined;
  /** With `room_id`: everywhere but in /sync. */
  readonly withRoomId?: boolean;
}

/** A whole event. */
export function eventText({ stored, head, unsigned, replaced }: EventText, shown: Shown): string {
  const { event } = stored;
  let text = `${head}${shown.now - event.originServerTs}${unsigned}`;
  const until = stickyUntil(stored);
  if (until !== undefined && until > shown.now) {
    text += `,"msc4354_sticky_duration_ttl_ms":${until - shown.now}`;
  }
  if (shown.showsPrevContent === true && replaced !== undefined) text += replaced.unsigned;
  if (shown.membership !== undefined) text += `,"membership":${JSON.stringify(shown.membership)}`;
  if (shown.device !== undefined && isMadeBy(stored, shown.device)) {
    text += `,"${txnMemberOf(stored)}":${JSON.stringify(stored.txn?.txnId)}`;
  }
  if (shown.relations !== undefined) text += `,"m.relations":${shown.relations}`;
  return shown.withRoomId === true ? `${text}},"room_id":${JSON.stringify(event.roomId)}}` : `${text}}}`;
}

/** The device of events that the server has sent for their user: their transaction ids are those of MSC4140. */
export const NO_DEVICE = '';

/** True where the event was sent by this device with a transaction id, or for its user at a later time. */
export function isMadeBy(
  { event, txn }: StoredEvent,
  device: Pick<Requester, 'userId' | 'deviceId'>,
): boolean {
  if (txn === undefined || event.sender !== device.userId) return false;
  return txn.deviceId === device.deviceId || txn.deviceId === NO_DEVICE;
}

function txnMemberOf({ txn }: StoredEvent): string {
  return txn?.deviceId === NO_DEVICE ? 'org.matrix.msc4140.delay_id' : 'transaction_id';
}

/** The texts of events, in their order, with what they replaced and what redacted them. */
export async function textsOf(ctx: RoomsContext, events: readonly StoredEvent[]): Promise<EventText[]> {
  const redactions = await redactionsOf(ctx, events);
  const texts: EventText[] = [];
  for (const stored of events) {
    // One after the other: the state before each is another one, and mostly in memory.
    const replaced = await replacedBy(ctx, stored);
    const redaction = stored.redactedBy && redactions.get(stored.redactedBy);
    const unsigned =
      (redaction === undefined ? '' : `,"redacted_because":${bareText(redaction.event)}`) +
      (replaced === undefined ? '' : `,"replaces_state":${JSON.stringify(replaced.event.eventId)}`);
    texts.push({ stored, head: headOf(stored.event), unsigned, replaced: replaced && withContent(replaced) });
  }
  return texts;
}

/** The texts of events of the state, of which nothing more than themselves is of interest. */
export function stateTexts(events: readonly StoredEvent[], shown: Shown): string[] {
  return events.map((stored) =>
    eventText({ stored, head: headOf(stored.event), unsigned: '', replaced: undefined }, shown),
  );
}

export interface RenderOptions {
  readonly withRoomId: boolean;
  /** By the numeric id of the event: what relates to it (`reading/bundles.ts`). */
  readonly relations?: ReadonlyMap<number, string>;
}

/** Events of one room as a user sees them who may see them: whole, in their order. */
export async function textsFor(
  ctx: RoomsContext,
  requester: Pick<Requester, 'userId' | 'deviceId'>,
  events: readonly StoredEvent[],
  options: RenderOptions,
): Promise<string[]> {
  const [first] = events;
  if (first === undefined) return [];
  return renderFor(ctx, requester, await textsOf(ctx, events), options);
}

/** `textsFor` of texts that are there already. */
export async function renderFor(
  ctx: RoomsContext,
  requester: Pick<Requester, 'userId' | 'deviceId'>,
  texts: readonly EventText[],
  { withRoomId, relations }: RenderOptions,
): Promise<string[]> {
  const [first] = texts;
  if (first === undefined) return [];
  const { userId } = requester;
  const events = texts.map(({ stored }) => stored);
  const erased = await erasedFor(ctx, first.stored.roomNid, { userId }, events);
  const groups = texts.map(({ stored }) => stored.stateAfter).filter((group) => group !== undefined);
  const memberships = await membershipsAt(ctx, [...new Set(groups)], [userId]);
  const before = texts.map(({ replaced }) => replaced?.stored).filter((stored) => stored !== undefined);
  const visible = await visibleTo(ctx, first.stored.roomNid, { userId }, before);
  const shownBefore = new Set(before.filter((_, index) => visible[index]));
  const now = ctx.clock.now();
  return texts.map((whole) => {
    const text = erased.has(whole.stored) ? erasedText(whole) : whole;
    const { stateAfter } = text.stored;
    const membership =
      stateAfter === undefined ? undefined : (memberships.get(stateAfter)?.get(userId) ?? 'leave');
    const showsPrevContent = text.replaced !== undefined && shownBefore.has(text.replaced.stored);
    const shown = { now, membership, showsPrevContent, device: requester, withRoomId };
    return eventText(text, { ...shown, relations: relations?.get(text.stored.nid) });
  });
}

/** An event of somebody who was erased, and whom the reader came too late to have read. */
function erasedText(text: EventText): EventText {
  return { ...text, head: headOf(redactedEvent(text.stored.event)), replaced: undefined };
}

async function redactionsOf(
  ctx: RoomsContext,
  events: readonly StoredEvent[],
): Promise<ReadonlyMap<EventId, StoredEvent>> {
  const ids = events.map((stored) => stored.redactedBy).filter((eventId) => eventId !== undefined);
  return ids.length === 0 ? new Map() : loadEvents(ctx, ids);
}

async function replacedBy(
  ctx: RoomsContext,
  { event, stateBefore }: StoredEvent,
): Promise<StoredEvent | undefined> {
  if (event.stateKey === undefined || stateBefore === undefined || stateBefore === 0) return undefined;
  const key = { type: event.type, stateKey: event.stateKey };
  return (await stateOfGroup(ctx, stateBefore, [key])).get(stateMapKey(key.type, key.stateKey));
}

function withContent(stored: StoredEvent): EventText['replaced'] {
  const { content, sender } = stored.event;
  // `prev_sender` is older than the specification, which does not name it; clients go on reading it.
  const unsigned = `,"prev_content":${JSON.stringify(content)},"prev_sender":${JSON.stringify(sender)}`;
  return { stored, unsigned };
}

function headOf(event: Event): string {
  return `${membersOf(event)},"unsigned":{"age":`;
}

function bareText(event: Event): string {
  return `${membersOf(event)}}`;
}

/** All members but `unsigned` and `room_id`. */
function membersOf(event: Event): string {
  const { eventId, type, sender, stateKey, originServerTs } = event;
  const stateKeyText = stateKey === undefined ? '' : `,"state_key":${JSON.stringify(stateKey)}`;
  return `{"content":${contentText(event)},"event_id":${JSON.stringify(eventId)}${stickyText(event)},"origin_server_ts":${originServerTs}${redactsText(event)},"sender":${JSON.stringify(sender)}${stateKeyText},"type":${JSON.stringify(type)}`;
}

/**
 * What a redaction redacts is shown in both places: "servers should add a redacts property to the content of
 * m.room.redaction events in older room versions", and to the top level in newer ones.
 */
function contentText({ content, redacts }: Event): string {
  if (redacts === undefined || own(content, 'redacts') === redacts) return JSON.stringify(content);
  return JSON.stringify({ ...content, redacts });
}

/** Under its unstable name, as it is in the event: MSC4354. */
function stickyText(event: Event): string {
  const ms = stickyMsOf(event);
  return ms === undefined ? '' : `,"${STICKY_MEMBER}":{"duration_ms":${ms}}`;
}

function redactsText({ redacts }: Event): string {
  return redacts === undefined ? '' : `,"redacts":${JSON.stringify(redacts)}`;
}
