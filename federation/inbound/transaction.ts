/**
 * A transaction of another server.
 *
 * 1. Seen before: the same answer again.
 * 2. Each PDU is admitted by itself: it must be of a room that we are in, whose access control list allows the
 *    sending server, and pass the ingress check (format, signatures, hash). What does not has its error in the answer;
 *    what cannot be verified, as its server's keys cannot be asked for, is answered for and tried later (`postponed.ts`).
 * 3. The EDUs are taken in, in a write of which the events are not behind; taken twice, should we end here, they do no
 *    harm.
 * 4. What was admitted is put on disk together with the answer; only then is the transaction answered.
 * 5. It is received into its rooms afterwards (`stage.ts`). What the authorisation rules say of it is not in the
 *    answer: "If an event in an incoming transaction is rejected, this should not cause the transaction request to
 *    be responded to with an error response."
 *
 * https://spec.matrix.org/v1.19/server-server-api/#transactions
 */

import { encodeCanonical } from '#keys/canonical-json.ts';
import {
  belongsTo,
  type EventId,
  isEventId,
  isRoomId,
  isUserId,
  type RoomId,
  type ServerName,
} from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { eventIdOf } from '#rooms/hashes.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { loadEvents, loadNid } from '#rooms/load.ts';
import { recordOutOfBandLeave } from '#rooms/out-of-band.ts';
import { isUnsigned } from '#rooms/policy.ts';
import { ID_TAKEN } from '#rooms/receive.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { isPlaced } from '#rooms/stored-event.ts';
import { DEFAULT_ROOM_VERSION, type RoomVersionRules, rulesOf } from '#rooms/versions.ts';
import type { Tx } from '#storage/database.ts';
import * as inboundTransactions from '#storage/inbound-transactions.ts';
import * as memberships from '#storage/memberships.ts';
import { isAllowedByAcl, roomWeAreIn } from '../access.ts';
import type { FederationContext } from '../context.ts';
import { joinUnderWay } from '../handshakes/under-way.ts';
import { isMomentary, readEdus, writeEdus } from './edus.ts';
import { verifyPdu } from './verify.ts';

export interface InboundTransaction {
  readonly origin: ServerName;
  readonly txnId: string;
  /** Each as it was sent, and what `parseLoose` makes of it. */
  readonly pdus: readonly { readonly text: string; readonly value: Json | undefined }[];
  readonly edus: readonly Json[];
}

export type TransactionResult =
  /** The JSON to answer with. */
  | { readonly kind: 'ok'; readonly answer: string }
  /** So much waits already that the server is to send it again later. */
  | { readonly kind: 'busy' };

/** What became of one PDU. The id is undefined where nobody can say what it would be. */
type Admission =
  | {
      readonly kind: 'admitted';
      readonly eventId: EventId;
      readonly event: VerifiedEvent;
      readonly roomNid: number;
    }
  /** Nobody can be asked for the keys it is signed with. */
  | {
      readonly kind: 'unverified';
      readonly eventId: EventId;
      readonly event: Event;
      readonly roomNid: number;
    }
  | { readonly kind: 'done'; readonly eventId: EventId }
  | { readonly kind: 'refused'; readonly eventId: EventId | undefined; readonly reason: string };

/** For all the keys that a transaction needs. */
const KEYS_DEADLINE_MS = 20_000;

/** Takes in a transaction; resolves once what it brings is on disk. */
export async function receiveTransaction(
  ctx: FederationContext,
  transaction: InboundTransaction,
): Promise<TransactionResult> {
  const { origin, txnId, pdus, edus } = transaction;
  const seen = await inboundTransactions.answerOf(ctx.db, origin, txnId);
  if (seen !== undefined) return { kind: 'ok', answer: seen };
  const rooms = new AdmittingRooms(ctx, origin);
  const signal = AbortSignal.timeout(KEYS_DEADLINE_MS);
  const checked = await Promise.all(pdus.map((pdu) => admit(ctx, rooms, { ...pdu, signal })));
  const admissions = await withoutPlaced(ctx, checked);
  const events = admissions.flatMap((admission) => (admission.kind === 'admitted' ? [admission.event] : []));
  const unverified = admissions.flatMap((admission) =>
    admission.kind === 'unverified' ? [admission.event] : [],
  );
  if (events.some(({ roomId }) => ctx.inbound.isFull(roomId))) return { kind: 'busy' };
  const answer = answerOf(admissions);
  // On disk before the answer is remembered: a transaction that is cut short here comes again with all that it brings.
  const writes = await readEdus(ctx, origin, edus);
  if (pdus.length === 0) {
    const now = ctx.clock.now();
    const remember = (tx: Tx) => inboundTransactions.remember(tx, { origin, txnId, answer }, now);
    await writeEdus(ctx, origin, writes, edus.every(isMomentary) ? undefined : remember);
  } else {
    const beside = writes.length === 0 ? undefined : writeEdus(ctx, origin, writes);
    await ctx.inbound.stage({ origin, txnId, answer, events, unverified, beside });
  }
  return { kind: 'ok', answer };
}

function answerOf(admissions: readonly Admission[]): string {
  const results = new Map<EventId, JsonObject>();
  for (const admission of admissions) {
    if (admission.eventId === undefined) continue;
    results.set(admission.eventId, admission.kind === 'refused' ? { error: admission.reason } : {});
  }
  return encodeCanonical({ pdus: Object.fromEntries(results) });
}

type Pdu = InboundTransaction['pdus'][number] & { readonly signal: AbortSignal };

/** Step 2. */
async function admit(ctx: FederationContext, rooms: AdmittingRooms, pdu: Pdu): Promise<Admission> {
  const { value } = pdu;
  if (!isObject(value)) return refused(undefined, 'The event is not an object');
  const roomId = own(value, 'room_id');
  if (!isRoomId(roomId)) return refused(claimedId(value, undefined), 'room_id is not a room id');
  const room = await rooms.get(roomId);
  if (room.kind === 'elsewhere' && room.room !== undefined && isEndOfMembership(ctx, value)) {
    return admitOutOfBand(ctx, room.room, pdu);
  }
  if (room.kind !== 'ok') return refused(claimedId(value, room.room?.rules), room.reason);
  const { rules, roomNid } = room.room;
  const verdict = await verifyPdu(ctx, rules, pdu.text, pdu.signal);
  if (verdict.kind === 'verified') {
    const { event } = verdict;
    return { kind: 'admitted', eventId: event.eventId, event, roomNid };
  }
  const { unanswered: event } = verdict;
  // v1, v2: whoever forges an event chooses its id, and would take the place of the true one.
  if (event !== undefined && rules.eventIds !== 'chosen') {
    return { kind: 'unverified', eventId: event.eventId, event, roomNid };
  }
  return refused(verdict.eventId ?? claimedId(value, rules), verdict.reason);
}

/** Of those that are admitted some are resent, or were sent by several servers: they have their place. */
async function withoutPlaced(
  ctx: FederationContext,
  admissions: readonly Admission[],
): Promise<readonly Admission[]> {
  const ids = admissions.flatMap((admission) => ('event' in admission ? [admission.eventId] : []));
  const known = await loadEvents(ctx, ids);
  return admissions.map((admission): Admission => {
    if (!('event' in admission)) return admission;
    const { eventId, roomNid } = admission;
    const stored = known.get(eventId);
    if (stored !== undefined && stored.roomNid !== roomNid) return refused(eventId, ID_TAKEN);
    // What the policy server had not signed is judged anew where it has now.
    const isDone = stored !== undefined && isPlaced(stored) && !isUnsigned(stored);
    return isDone ? { kind: 'done', eventId } : admission;
  });
}

/**
 * Of a room that we are not in we are told one thing: that the invitation of one of our users is withdrawn, or their
 * knock refused. We cannot ask the room who may do so: an invitation is taken back by whoever gave it, and a knock
 * refused by whoever names it.
 */
async function admitOutOfBand(ctx: FederationContext, room: Room, pdu: Pdu): Promise<Admission> {
  const { rules } = room;
  const verdict = await verifyPdu(ctx, rules, pdu.text, pdu.signal);
  if (verdict.kind === 'dropped') return refused(verdict.eventId, verdict.reason);
  const leave = verdict.event;
  const { eventId, stateKey: target } = leave;
  const member = isUserId(target) ? await memberships.of(ctx.db, room.roomNid, target) : undefined;
  const isOutside = member?.membership === 'invite' || member?.membership === 'knock';
  const ended = isOutside ? await loadNid(ctx, member.eventNid) : undefined;
  // It names the membership that it ends: one from before a newer invitation does not end that.
  const endsIt = ended !== undefined && leave.authEvents.includes(ended.event.eventId);
  const isInvite = member?.membership === 'invite';
  if (!endsIt || (isInvite && ended.event.sender !== leave.sender)) {
    return refused(eventId, 'This server is not in the room');
  }
  const recorded = await recordOutOfBandLeave(ctx, { rules, leave, ended: ended.event.eventId });
  return recorded.kind === 'refused' ? refused(eventId, recorded.reason) : { kind: 'done', eventId };
}

function isEndOfMembership(ctx: FederationContext, pdu: JsonObject): boolean {
  const membership = stringAt(objectAt(pdu, 'content') ?? {}, 'membership');
  return (
    stringAt(pdu, 'type') === 'm.room.member' &&
    belongsTo(stringAt(pdu, 'state_key') ?? '', ctx.serverName) &&
    (membership === 'leave' || membership === 'ban')
  );
}

/**
 * The id that an invalid event has in the eyes of its sender, as far as that can be told: its error would not find
 * its way without. Of a room of an unknown version, by the rules of the newest.
 */
function claimedId(pdu: JsonObject, known: RoomVersionRules | undefined): EventId | undefined {
  const named = own(pdu, 'event_id');
  if (isEventId(named)) return named;
  const rules = known ?? rulesOf(DEFAULT_ROOM_VERSION);
  // v1, v2: without `event_id` there is none.
  return rules === undefined || rules.eventIds === 'chosen' ? undefined : eventIdOf(pdu, rules);
}

function refused(eventId: EventId | undefined, reason: string): Admission {
  return { kind: 'refused', eventId, reason };
}

type AdmittingRoom =
  | { readonly kind: 'ok'; readonly room: Room }
  /** `elsewhere`: we are not in it; `denied`: the server is denied access. */
  | { readonly kind: 'elsewhere' | 'denied'; readonly room: Room | undefined; readonly reason: string };

/** Which rooms take events of a server, each looked up once for a transaction. */
class AdmittingRooms {
  readonly #ctx: FederationContext;
  readonly #origin: ServerName;
  readonly #rooms = new Map<RoomId, Promise<AdmittingRoom>>();

  constructor(ctx: FederationContext, origin: ServerName) {
    this.#ctx = ctx;
    this.#origin = origin;
  }

  get(roomId: RoomId): Promise<AdmittingRoom> {
    const known = this.#rooms.get(roomId);
    if (known !== undefined) return known;
    const found = this.#find(roomId);
    this.#rooms.set(roomId, found);
    return found;
  }

  async #find(roomId: RoomId): Promise<AdmittingRoom> {
    let room = await roomWeAreIn(this.#ctx, roomId);
    if (room === undefined) {
      // The server that lets us in sends events to us before we have taken the room over.
      await joinUnderWay(this.#ctx, roomId);
      room = await roomWeAreIn(this.#ctx, roomId);
    }
    if (room === undefined) {
      const known = await getRoom(this.#ctx, roomId);
      return { kind: 'elsewhere', room: known, reason: 'This server is not in the room' };
    }
    if (!(await isAllowedByAcl(this.#ctx, room, this.#origin))) {
      return { kind: 'denied', room, reason: 'The server is denied access to the room' };
    }
    return { kind: 'ok', room };
  }
}
