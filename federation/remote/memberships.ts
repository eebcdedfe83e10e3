/**
 * Joins, knocks, leaves and invitations by way of other servers: https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 *
 * PDUs come back as the raw text that was sent, for `checkIngress` to judge one by one; nothing in them has been
 * verified. What else an answer holds has been checked for its shape. An answer of a wrong shape is a failure
 * with the reason `bad_answer`.
 */

import { encodeCanonical, splitArrayAt } from '#keys/canonical-json.ts';
import type { EventId, RoomId, ServerName, UserId } from '#keys/ids.ts';
import { type JsonObject, objectAt, stringAt } from '#keys/json.ts';
import type { FederationFailure, FederationRequest, FederationStreamed } from '../client.ts';
import { readJoinedState, type SendJoinAnswer, type TakeStateEvents } from '../handshakes/joined-state.ts';
import { isUnrecognized, type Remote, read, readObject, readSecond } from './answer.ts';
import {
  encode,
  FEDERATION,
  HANDSHAKE_TIMEOUT_MS,
  MAX_SMALL_BYTES,
  type RemoteContext,
  type RemoteOptions,
  stateLimits,
  WAITED_FOR,
} from './request.ts';

/** The answer to make_join, make_leave and make_knock. The template is not to be trusted, still less signed. */
export interface Template {
  readonly roomVersion: string | undefined;
  readonly event: JsonObject;
}

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
  const unwrapped = (answer: FederationStreamed<Remote<SendJoinAnswer>>) =>
    answer.kind === 'failed' ? answer : answer.value;
  const answer = await ctx.client.stream({ ...request, path: `${FEDERATION}/v2/${path}`, query }, (body) =>
    readJoinedState(body, { take, isPair: false }),
  );
  if (answer.kind === 'ok' || !isUnrecognized(answer)) return unwrapped(answer);
  return unwrapped(
    await ctx.client.stream({ ...request, path: `${FEDERATION}/v1/${path}` }, (body) =>
      readJoinedState(body, { take, isPair: true }),
    ),
  );
}

/** `GET v1/make_knock`; `versions`: the room versions that we know. */
export function makeKnock(
  ctx: RemoteContext,
  server: ServerName,
  knock: { roomId: RoomId; userId: UserId; versions: readonly string[] },
  options: RemoteOptions = {},
): Promise<Remote<Template>> {
  const path = `${FEDERATION}/v1/make_knock/${encode(knock.roomId)}/${encode(knock.userId)}`;
  const query = { ver: knock.versions };
  return template(ctx, { server, method: 'GET', path, query, ...WAITED_FOR, ...options });
}

/** `PUT v1/send_knock`, with our signed knock event: gives the text of each event of `knock_room_state`. */
export async function sendKnock(
  ctx: RemoteContext,
  server: ServerName,
  knock: { roomId: RoomId; eventId: EventId; pdu: JsonObject },
  options: RemoteOptions = {},
): Promise<Remote<readonly string[]>> {
  const path = `${FEDERATION}/v1/send_knock/${encode(knock.roomId)}/${encode(knock.eventId)}`;
  const request = { server, method: 'PUT', path, body: knock.pdu, ...WAITED_FOR, ...options } as const;
  // A knock that was taken is not lost for an answer that shows nothing of the room.
  return read(await ctx.client.request(request), (text) => splitArrayAt(text, 'knock_room_state') ?? []);
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
  // "Senders which receive a 400 or 404 response to this endpoint should retry using the v1 API as the server may be
  // older, if the room version is "1" or "2"."
  const isRefused = answer.kind === 'failed' && (isUnrecognized(answer) || mayBeOlder(answer));
  if (!isRefused || !(roomVersion === '1' || roomVersion === '2')) return readObject(answer, signedEventOf);
  const older = { ...request, path: `${FEDERATION}/v1/${path}` };
  const bodyV1 = { ...pdu, unsigned: { invite_room_state: inviteRoomState } };
  return readSecond(await ctx.client.request({ ...older, body: bodyV1 }), signedEventOf);
}

/** `PUT v1/exchange_third_party_invite`: "a partial `m.room.member` event", of which the other server makes a whole one. */
export async function exchangeThirdPartyInvite(
  ctx: RemoteContext,
  server: ServerName,
  { roomId, event }: { roomId: RoomId; event: JsonObject },
  options: RemoteOptions = {},
): Promise<Remote<undefined>> {
  const path = `${FEDERATION}/v1/exchange_third_party_invite/${encode(roomId)}`;
  const request = { server, method: 'PUT', path, body: event, ...WAITED_FOR, ...options } as const;
  const answer = await ctx.client.request(request);
  return answer.kind === 'failed' ? answer : { kind: 'ok', value: undefined };
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

function mayBeOlder({ status }: FederationFailure): boolean {
  return status === 400 || status === 404;
}

function signedEventOf(answer: JsonObject): string | undefined {
  const event = objectAt(answer, 'event');
  return event === undefined ? undefined : encodeCanonical(event);
}
