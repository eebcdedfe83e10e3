/**
 * Events and states of rooms from other servers: https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
 *
 * PDUs come back as the raw text that was sent, for `checkIngress` to judge one by one; nothing in them has been
 * verified. What else an answer holds has been checked for its shape. An answer of a wrong shape is a failure
 * with the reason `bad_answer`.
 */

import { splitArrayAt } from '#keys/canonical-json.ts';
import type { EventId, RoomId, ServerName } from '#keys/ids.ts';
import {
  eventIdsOf,
  MAX_STATE_EVENTS,
  type Remote,
  type RoomStateTexts,
  read,
  stateTexts,
} from './answer.ts';
import {
  encode,
  FEDERATION,
  MAX_SMALL_BYTES,
  type RemoteContext,
  type RemoteOptions,
  stateLimits,
} from './request.ts';

/** `GET v1/event`: the event's text. */
export async function getEvent(
  ctx: RemoteContext,
  server: ServerName,
  eventId: EventId,
  options: RemoteOptions = {},
): Promise<Remote<string>> {
  const path = `${FEDERATION}/v1/event/${encode(eventId)}`;
  const answer = await ctx.client.request({
    server,
    method: 'GET',
    path,
    maxBytes: MAX_SMALL_BYTES,
    ...options,
  });
  return read(answer, (text) => splitArrayAt(text, 'pdus')?.[0]);
}

/** `GET v1/state`: the state before the event, whole. */
export async function getState(
  ctx: RemoteContext,
  server: ServerName,
  at: { roomId: RoomId; eventId: EventId },
  options: RemoteOptions = {},
): Promise<Remote<RoomStateTexts>> {
  const path = `${FEDERATION}/v1/state/${encode(at.roomId)}`;
  const query = { event_id: at.eventId };
  const answer = await ctx.client.request({ server, method: 'GET', path, query, ...stateLimits(options) });
  return read(answer, (text) => stateTexts(text, 'pdus'));
}

/** `GET v1/state_ids`: the ids of the state before the event, and of its auth chain. */
export async function getStateIds(
  ctx: RemoteContext,
  server: ServerName,
  at: { roomId: RoomId; eventId: EventId },
  options: RemoteOptions = {},
): Promise<Remote<{ state: readonly EventId[]; authChain: readonly EventId[] }>> {
  const path = `${FEDERATION}/v1/state_ids/${encode(at.roomId)}`;
  const query = { event_id: at.eventId };
  const answer = await ctx.client.request({ server, method: 'GET', path, query, ...stateLimits(options) });
  return read(answer, (text) => {
    const state = eventIdsOf(splitArrayAt(text, 'pdu_ids'));
    const authChain = eventIdsOf(splitArrayAt(text, 'auth_chain_ids'));
    return state === undefined || authChain === undefined ? undefined : { state, authChain };
  });
}

/** `GET v1/event_auth`: the event's whole auth chain. */
export async function getEventAuth(
  ctx: RemoteContext,
  server: ServerName,
  at: { roomId: RoomId; eventId: EventId },
  options: RemoteOptions = {},
): Promise<Remote<readonly string[]>> {
  const path = `${FEDERATION}/v1/event_auth/${encode(at.roomId)}/${encode(at.eventId)}`;
  const answer = await ctx.client.request({ server, method: 'GET', path, ...stateLimits(options) });
  return read(answer, (text) => splitArrayAt(text, 'auth_chain')?.slice(0, MAX_STATE_EVENTS));
}

/** `GET v1/backfill`: at most `limit` events, `from` and those before them. */
export async function backfill(
  ctx: RemoteContext,
  server: ServerName,
  wanted: { roomId: RoomId; from: readonly EventId[]; limit: number },
  options: RemoteOptions = {},
): Promise<Remote<readonly string[]>> {
  const path = `${FEDERATION}/v1/backfill/${encode(wanted.roomId)}`;
  const query = { v: wanted.from, limit: wanted.limit };
  const answer = await ctx.client.request({ server, method: 'GET', path, query, ...options });
  return read(answer, (text) => splitArrayAt(text, 'pdus')?.slice(0, wanted.limit));
}

/** `POST v1/get_missing_events`: what lies between `earliest` and `latest`. Some servers send `latest` too. */
export async function getMissingEvents(
  ctx: RemoteContext,
  server: ServerName,
  wanted: {
    roomId: RoomId;
    earliest: readonly EventId[];
    latest: readonly EventId[];
    limit: number;
    minDepth: number;
  },
  options: RemoteOptions = {},
): Promise<Remote<readonly string[]>> {
  const { roomId, earliest, latest, limit, minDepth } = wanted;
  const path = `${FEDERATION}/v1/get_missing_events/${encode(roomId)}`;
  const body = { earliest_events: earliest, latest_events: latest, limit, min_depth: minDepth };
  const answer = await ctx.client.request({ server, method: 'POST', path, body, ...options });
  return read(answer, (text) => splitArrayAt(text, 'events')?.slice(0, limit + latest.length));
}
