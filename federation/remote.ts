/**
 * The endpoints of other servers, one typed function each: https://spec.matrix.org/v1.19/server-server-api/
 *
 * PDUs come back as the raw text that was sent, for `checkIngress` to judge one by one; nothing in them has been
 * verified. What else an answer holds has been checked for its shape. An answer of a wrong shape is a failure
 * with the reason `bad_answer`.
 */

import { encodeCanonical, splitArrayAt } from '#keys/canonical-json.ts';
import {
  type EventId,
  isEventId,
  isRoomId,
  isServerName,
  type RoomAlias,
  type RoomId,
  type ServerName,
  type UserId,
} from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import type { FederationClient, FederationRequest, FederationStreamed } from './client.ts';
import { readJoinedState, type SendJoinAnswer, type TakeStateEvents } from './joined-state.ts';
import {
  eventIdsOf,
  isUnrecognized,
  MAX_STATE_EVENTS,
  type Remote,
  type RoomStateTexts,
  read,
  readObject,
  readSecond,
  stateTexts,
} from './remote-answer.ts';

export type { SendJoinAnswer } from './joined-state.ts';
export type { Remote, RoomStateTexts } from './remote-answer.ts';

export interface RemoteOptions {
  readonly signal?: AbortSignal;
  /** For the whole request, in milliseconds. */
  readonly timeoutMs?: number;
}

interface RemoteContext {
  readonly client: FederationClient;
}

/** The answer to make_join, make_leave and make_knock. The template is not to be trusted, still less signed. */
export interface Template {
  readonly roomVersion: string | undefined;
  readonly event: JsonObject;
}

/** The answer to a transaction. */
export interface TransactionAnswer {
  /** What the server says of the events that it did not accept. */
  readonly errors: ReadonlyMap<EventId, string>;
  /** The server's time in milliseconds since 1970, where it says it. */
  readonly serverTs: number | undefined;
}

const FEDERATION = '/_matrix/federation';
const STATE_MAX_BYTES = 256 * 1024 * 1024;
const STATE_TIMEOUT_MS = 120_000;
const HANDSHAKE_TIMEOUT_MS = 30_000;
const QUERY_TIMEOUT_MS = 10_000;
/** A transaction may take the other server long: it must have it on disk before it answers. */
const TRANSACTION_TIMEOUT_MS = 60_000;
const MAX_SMALL_BYTES = 1024 * 1024;
const MAX_SERVERS = 10_000;

/** Somebody waits for the outcome: the server is asked even while it is left alone. */
const WAITED_FOR = { backoff: 'ignore' } as const;

/** `GET v1/make_join`; `versions`: the room versions that we know. */
export function makeJoin(
  ctx: RemoteContext,
  server: ServerName,
  join: { roomId: RoomId; userId: UserId; versions: readonly string[] },
  options: RemoteOptions = {},
): Promise<Remote<Template>> {
  const path = `${FEDERATION}/v1/make_join/${encode(join.roomId)}/${encode(join.userId)}`;
  const query = { ver: join.versions };
  return template(ctx, { server, method: 'GET', path, query, ...WAITED_FOR, ...options });
}

/**
 * `PUT v2/send_join`, with our signed join event; v1 where the server has no v2. The events of the state and the auth chains are handed to `take` a
 * few at a time, in the order in which they come; what has been taken counts only if the answer is good to its end.
 */
export async function sendJoin(
  ctx: RemoteContext,
  server: ServerName,
  join: { roomId: RoomId; eventId: EventId; pdu: JsonObject },
  { take, ...options }: RemoteOptions & { readonly take: TakeStateEvents },
): Promise<Remote<SendJoinAnswer>> {
  const request = { server, method: 'PUT', body: join.pdu, ...WAITED_FOR, ...stateLimits(options) } as const;
  const path = `send_join/${encode(join.roomId)}/${encode(join.eventId)}`;
  const query = { omit_members: 'false' };
  const read = (answer: FederationStreamed<Remote<SendJoinAnswer>>) =>
    answer.kind === 'failed' ? answer : answer.value;
  const answer = await ctx.client.stream({ ...request, path: `${FEDERATION}/v2/${path}`, query }, (body) =>
    readJoinedState(body, { take, isPair: false }),
  );
  if (answer.kind === 'ok' || !isUnrecognized(answer)) return read(answer);
  return read(
    await ctx.client.stream({ ...request, path: `${FEDERATION}/v1/${path}` }, (body) =>
      readJoinedState(body, { take, isPair: true }),
    ),
  );
}

/** `GET v1/make_leave` */
export function makeLeave(
  ctx: RemoteContext,
  server: ServerName,
  leave: { roomId: RoomId; userId: UserId },
  options: RemoteOptions = {},
): Promise<Remote<Template>> {
  const path = `${FEDERATION}/v1/make_leave/${encode(leave.roomId)}/${encode(leave.userId)}`;
  return template(ctx, { server, method: 'GET', path, ...WAITED_FOR, ...options });
}

/** `PUT v2/send_leave`, with our signed leave event; v1 where the server has no v2. */
export async function sendLeave(
  ctx: RemoteContext,
  server: ServerName,
  leave: { roomId: RoomId; eventId: EventId; pdu: JsonObject },
  options: RemoteOptions = {},
): Promise<Remote<undefined>> {
  const request = { server, method: 'PUT', body: leave.pdu, ...WAITED_FOR, ...options } as const;
  const path = `send_leave/${encode(leave.roomId)}/${encode(leave.eventId)}`;
  let answer = await ctx.client.request({ ...request, path: `${FEDERATION}/v2/${path}` });
  if (answer.kind === 'failed' && isUnrecognized(answer)) {
    answer = await ctx.client.request({ ...request, path: `${FEDERATION}/v1/${path}` });
  }
  return answer.kind === 'failed' ? answer : { kind: 'ok', value: undefined };
}

/**
 * `PUT v2/invite`: gives the text of the event with the invited user's server's signature. Where the server has no
 * v2, v1 is asked, if the room is of a version that v1 is for.
 */
export async function invite(
  ctx: RemoteContext,
  server: ServerName,
  invitation: {
    roomId: RoomId;
    eventId: EventId;
    roomVersion: string;
    pdu: JsonObject;
    inviteRoomState: readonly JsonObject[];
  },
  options: RemoteOptions = {},
): Promise<Remote<string>> {
  const { roomId, eventId, roomVersion, pdu, inviteRoomState } = invitation;
  const request = {
    server,
    method: 'PUT',
    timeoutMs: HANDSHAKE_TIMEOUT_MS,
    ...WAITED_FOR,
    ...options,
  } as const;
  const path = `invite/${encode(roomId)}/${encode(eventId)}`;
  const body = { event: pdu, invite_room_state: inviteRoomState, room_version: roomVersion };
  const answer = await ctx.client.request({ ...request, path: `${FEDERATION}/v2/${path}`, body });
  // "Servers which receive a v1 invite request must assume that the room version is either "1" or "2"."
  const mayAskV1 = roomVersion === '1' || roomVersion === '2';
  if (answer.kind === 'ok' || !mayAskV1 || !isUnrecognized(answer)) {
    return readObject(answer, signedEventOf);
  }
  const older = { ...request, path: `${FEDERATION}/v1/${path}` };
  const bodyV1 = { ...pdu, unsigned: { invite_room_state: inviteRoomState } };
  return readSecond(await ctx.client.request({ ...older, body: bodyV1 }), signedEventOf);
}

/** `PUT v1/send`: `body` is the canonical JSON of the transaction. Neither consults nor moves the back-off. */
export async function sendTransaction(
  ctx: RemoteContext,
  server: ServerName,
  transaction: { txnId: string; body: string },
  options: RemoteOptions = {},
): Promise<Remote<TransactionAnswer>> {
  const { txnId, body } = transaction;
  const answer = await ctx.client.request({
    server,
    method: 'PUT',
    path: `${FEDERATION}/v1/send/${encode(txnId)}`,
    body,
    maxBytes: MAX_SMALL_BYTES,
    timeoutMs: TRANSACTION_TIMEOUT_MS,
    backoff: 'caller',
    ...options,
  });
  const serverTs = answer.kind === 'ok' ? answer.serverTs : undefined;
  return readObject(answer, (result) => ({ errors: errorsOf(objectAt(result, 'pdus') ?? {}), serverTs }));
}

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

/** `GET v1/query/profile` */
export async function queryProfile(
  ctx: RemoteContext,
  server: ServerName,
  wanted: { userId: UserId; field?: string },
  options: RemoteOptions = {},
): Promise<Remote<JsonObject>> {
  const query = { user_id: wanted.userId, field: wanted.field };
  const request = smallQuery(server, `${FEDERATION}/v1/query/profile`, query);
  return readObject(await ctx.client.request({ ...request, ...options }), (profile) => profile);
}

/** `GET v1/query/directory` */
export async function queryDirectory(
  ctx: RemoteContext,
  server: ServerName,
  alias: RoomAlias,
  options: RemoteOptions = {},
): Promise<Remote<{ roomId: RoomId; servers: readonly ServerName[] }>> {
  const request = smallQuery(server, `${FEDERATION}/v1/query/directory`, { room_alias: alias });
  return readObject(await ctx.client.request({ ...request, ...WAITED_FOR, ...options }), (answer) => {
    const roomId = own(answer, 'room_id');
    const servers = own(answer, 'servers');
    if (!isRoomId(roomId) || !Array.isArray(servers)) return undefined;
    return { roomId, servers: servers.filter(isServerName).slice(0, MAX_SERVERS) };
  });
}

/** `POST v1/publicRooms`; `body` as the client-server API has it. The answer's `chunk` is an array. */
export async function publicRooms(
  ctx: RemoteContext,
  server: ServerName,
  body: JsonObject,
  options: RemoteOptions = {},
): Promise<Remote<JsonObject>> {
  const path = `${FEDERATION}/v1/publicRooms`;
  const request = {
    server,
    method: 'POST',
    path,
    body,
    timeoutMs: QUERY_TIMEOUT_MS,
    ...WAITED_FOR,
    ...options,
  } as const;
  return readObject(await ctx.client.request(request), (answer) =>
    Array.isArray(own(answer, 'chunk')) ? answer : undefined,
  );
}

/** `GET v1/version` */
export async function version(
  ctx: RemoteContext,
  server: ServerName,
  options: RemoteOptions = {},
): Promise<Remote<{ name: string; version: string }>> {
  const request = smallQuery(server, `${FEDERATION}/v1/version`, {});
  return readObject(await ctx.client.request({ ...request, ...options }), (answer) => {
    const software = objectAt(answer, 'server') ?? {};
    return { name: stringAt(software, 'name') ?? '', version: stringAt(software, 'version') ?? '' };
  });
}

async function template(ctx: RemoteContext, request: FederationRequest): Promise<Remote<Template>> {
  const answer = await ctx.client.request({
    timeoutMs: HANDSHAKE_TIMEOUT_MS,
    maxBytes: MAX_SMALL_BYTES,
    ...request,
  });
  return readObject(answer, (body) => {
    const event = objectAt(body, 'event');
    return event === undefined ? undefined : { roomVersion: stringAt(body, 'room_version'), event };
  });
}

function smallQuery(
  server: ServerName,
  path: string,
  query: FederationRequest['query'] & object,
): FederationRequest {
  return { server, method: 'GET', path, query, timeoutMs: QUERY_TIMEOUT_MS, maxBytes: MAX_SMALL_BYTES };
}

function stateLimits(options: RemoteOptions): RemoteOptions & { maxBytes: number } {
  return { maxBytes: STATE_MAX_BYTES, timeoutMs: STATE_TIMEOUT_MS, ...options };
}

function signedEventOf(answer: JsonObject): string | undefined {
  const event = objectAt(answer, 'event');
  return event === undefined ? undefined : encodeCanonical(event);
}

function errorsOf(results: JsonObject): ReadonlyMap<EventId, string> {
  const errors = new Map<EventId, string>();
  for (const [eventId, result] of Object.entries(results)) {
    const error: Json | undefined = isObject(result) ? own(result, 'error') : undefined;
    if (isEventId(eventId) && typeof error === 'string') errors.set(eventId, error.slice(0, 500));
  }
  return errors;
}

function encode(id: string): string {
  return encodeURIComponent(id);
}
