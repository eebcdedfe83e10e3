/** The answer of `POST /search`, as text: events are cut from what is stored. */

import type { JsonObject } from '#keys/json.ts';
import { stringAt } from '#keys/json.ts';
import { writtenForms } from '#keys/words.ts';
import { getRoomByNid } from '#rooms/room.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { surroundings } from '#rooms/timeline.ts';
import { visibleTo } from '#rooms/visibility.ts';
import type { Requester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { bundledTextsFor } from '../reading/bundles.ts';
import { ignoredBy } from '../reading/ignored-users.ts';
import { sendersOf } from '../reading/message-page.ts';
import { findReadableRoom, readableState } from '../reading/readable-room.ts';
import { textsFor } from '../sync/format.ts';
import { formatToken } from '../sync/token.ts';
import type { Found, FoundEvent } from './find.ts';
import type { EventContextRequest, GroupKey, SearchRequest } from './request.ts';
import { searchableTexts } from './searchable.ts';
import { formatSearchToken } from './token.ts';

const SHOWN = { withRoomId: true } as const;
const MOST_HIGHLIGHTS = 100;

/** The JSON of `room_events`. */
export async function answerText(
  ctx: ServerContext,
  requester: Requester,
  request: SearchRequest,
  found: Found,
): Promise<string> {
  const parts = [
    `"count":${found.count}`,
    `"highlights":${JSON.stringify(highlights(request, found))}`,
    `"results":[${(await resultTexts(ctx, requester, request, found)).join(',')}]`,
  ];
  if (request.includeState)
    parts.push(`"state":{${(await stateTexts(ctx, requester, request, found)).join(',')}}`);
  if (request.groupBy.length > 0) parts.push(`"groups":${JSON.stringify(groupsOf(request.groupBy, found))}`);
  if (found.next !== undefined) parts.push(`"next_batch":${JSON.stringify(formatSearchToken(found.next))}`);
  return `{${parts.join(',')}}`;
}

/** "List of words which should be highlighted": as they were asked for, and as they are written. */
function highlights({ phrases }: SearchRequest, { events }: Found): string[] {
  const words = new Set(phrases.flat());
  const written = new Set(words);
  for (const { stored } of events) {
    for (const text of searchableTexts(stored)) {
      for (const word of writtenForms(text, words)) written.add(word);
    }
  }
  return [...written].slice(0, MOST_HIGHLIGHTS);
}

async function resultTexts(
  ctx: ServerContext,
  requester: Requester,
  { context }: SearchRequest,
  { events }: Found,
): Promise<string[]> {
  const texts = new Map<StoredEvent, string>();
  for (const [, ofRoom] of Map.groupBy(events, ({ stored }) => stored.roomNid)) {
    const stored = ofRoom.map((event) => event.stored);
    // Room by room, as events are shown.
    const shown = await bundledTextsFor(ctx, requester, stored, SHOWN);
    for (const [index, event] of stored.entries()) texts.set(event, shown[index] ?? '{}');
  }
  const results: string[] = [];
  for (const { stored, rank } of events) {
    const parts = [`"rank":${rank}`, `"result":${texts.get(stored)}`];
    // One after the other: each stands somewhere else.
    if (context !== undefined) parts.push(`"context":${await contextText(ctx, requester, stored, context)}`);
    results.push(`{${parts.join(',')}}`);
  }
  return results;
}

async function contextText(
  ctx: ServerContext,
  requester: Requester,
  stored: StoredEvent,
  asked: EventContextRequest,
): Promise<string> {
  const around = await surroundings(ctx, stored, asked);
  const ignored = await ignoredBy(ctx.db, requester.userId);
  const seen = async (events: readonly StoredEvent[]) => {
    const visible = await visibleTo(ctx, stored.roomNid, requester, events);
    return events.filter(({ event }, index) => visible[index] === true && !ignored.has(event.sender));
  };
  const before = await seen(around.before);
  const after = await seen(around.after);
  const texts = await bundledTextsFor(ctx, requester, [...before, ...after], SHOWN);
  const parts = [
    `"start":"${formatToken(around.start)}"`,
    `"end":"${formatToken(around.end)}"`,
    `"events_before":[${texts.slice(0, before.length).join(',')}]`,
    `"events_after":[${texts.slice(before.length).join(',')}]`,
  ];
  if (asked.includeProfile) {
    const profiles = await profilesAt(ctx, [...before, stored, ...after]);
    parts.push(`"profile_info":${JSON.stringify(profiles)}`);
  }
  return `{${parts.join(',')}}`;
}

/** "The historic profile information of the users that sent the events returned", as it was at the last of these. */
async function profilesAt(ctx: ServerContext, events: readonly StoredEvent[]): Promise<JsonObject> {
  const profiles = (await sendersOf(ctx, events)).map(({ event: { stateKey = '', content } }) => {
    const displayname = stringAt(content, 'displayname');
    const avatar = stringAt(content, 'avatar_url');
    return [
      stateKey,
      {
        ...(displayname !== undefined && { displayname }),
        ...(avatar !== undefined && { avatar_url: avatar }),
      },
    ] as const;
  });
  return Object.fromEntries(profiles);
}

/** "The current state for every room in the results": that of when they left, for one who has left. */
async function stateTexts(
  ctx: ServerContext,
  requester: Requester,
  { filter }: SearchRequest,
  { events }: Found,
): Promise<string[]> {
  const texts: string[] = [];
  for (const [roomNid, ofRoom] of Map.groupBy(events, ({ stored }) => stored.roomNid)) {
    // Room by room: few have results on one page.
    const room = await getRoomByNid(ctx, roomNid);
    const readable = room && (await findReadableRoom(ctx, requester.userId, room.roomId));
    if (readable === undefined) continue;
    const state = await readableState(ctx, readable);
    const senders = new Set<string>(ofRoom.map(({ stored }) => stored.event.sender));
    const shown = filter.lazyLoadMembers
      ? state.filter(({ event }) => event.type !== 'm.room.member' || senders.has(event.stateKey ?? ''))
      : state;
    const stateText = (await textsFor(ctx, requester, shown, SHOWN)).join(',');
    texts.push(`${JSON.stringify(readable.room.roomId)}:[${stateText}]`);
  }
  return texts;
}

function groupsOf(groupBy: readonly GroupKey[], { events, next }: Found): JsonObject {
  const groups = groupBy.map((key) => {
    const byValue = Map.groupBy(events, (event) => groupValue(key, event));
    const ofKey = [...byValue].map(([value, ofGroup], order) => {
      const batch = next && formatSearchToken({ ...next, group: { key, value } });
      const results = ofGroup.map(({ stored }) => stored.event.eventId);
      return [value, { order, results, ...(batch !== undefined && { next_batch: batch }) }] as const;
    });
    return [key, Object.fromEntries(ofKey)] as const;
  });
  return Object.fromEntries(groups);
}

function groupValue(key: GroupKey, { stored }: FoundEvent): string {
  return key === 'room_id' ? stored.event.roomId : stored.event.sender;
}
