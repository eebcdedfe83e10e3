/**
 * Policy servers: https://spec.matrix.org/v1.19/server-server-api/#policy-servers
 *
 * A room may name a server that must sign what is said there. Whether it has is check 7 on the receipt of a PDU. Nobody
 * is asked here: `PolicySigner` is, by who sends and who receives, and never under a room's lock.
 */

import { decodeBase64Url, encodeBase64 } from '#keys/base64.ts';
import { type PublicKey, publicKeyFrom, verify } from '#keys/ed25519.ts';
import type { KeyId, ServerName } from '#keys/ids.ts';
import { type JsonObject, objectAt, stringAt } from '#keys/json.ts';
import { signaturesOf } from '#keys/sign-json.ts';
import type { RoomsReader } from './context.ts';
import { type Event, eventFrom, stateMapKey } from './event.ts';
import { MAX_PDU_BYTES } from './format.ts';
import { referencedText } from './hashes.ts';
import { joinedServers, type Room } from './room.ts';
import type { RoomHead } from './room-cache.ts';
import { headOf, headState } from './room-head.ts';
import { markVerified, type VerifiedEvent } from './verified-event.ts';

/** "The Key ID for the `ed25519` key in `m.room.policy` is *always* `ed25519:policy_server`." */
export const POLICY_KEY_ID: KeyId = 'ed25519:policy_server';
export const POLICY_TYPE = 'm.room.policy';

/** The policy server that a room uses. */
export interface RoomPolicy {
  readonly server: ServerName;
  /** Undefined for a text that is no key: then no signature is valid. */
  readonly publicKey: PublicKey | undefined;
}

/** What a policy server says of an event. */
export type PolicyAnswer =
  | { readonly kind: 'signed'; readonly signature: string }
  /** The body of its error, for the client whose event it is. */
  | { readonly kind: 'refused'; readonly status: number; readonly body: JsonObject }
  | { readonly kind: 'unanswered'; readonly reason: string };

/** Asks policy servers (`federation/policy/`). */
export interface PolicySigner {
  /** Never rejects, and answers within a time limit. */
  sign(server: ServerName, event: Event): Promise<PolicyAnswer>;
}

/** Why an event does not have the signature that the room asks for. */
export type Unsigned = Exclude<PolicyAnswer, { kind: 'signed' }>;

const NOBODY: PolicySigner = { sign: async () => ({ kind: 'unanswered', reason: 'nobody is asked here' }) };

/** The policy server of a room's current state; undefined where the room uses none. */
export async function policyOf(
  ctx: RoomsReader,
  room: Room,
  known?: RoomHead,
): Promise<RoomPolicy | undefined> {
  const policy = await namedPolicyOf(ctx, known ?? (await headOf(ctx, room.roomNid)));
  if (policy === undefined) return undefined;
  // "The server name [...] has at least one joined user in the room": nobody is made a policy server.
  return (await joinedServers(ctx, room.roomNid)).includes(policy.server) ? policy : undefined;
}

/** The policy server that the state of a room names; whether the room uses it depends on who is in the room. */
export async function namedPolicyOf(ctx: RoomsReader, head: RoomHead): Promise<RoomPolicy | undefined> {
  const state = await headState(ctx, head, [{ type: POLICY_TYPE, stateKey: '' }]);
  const content = state.get(stateMapKey(POLICY_TYPE, ''))?.event.content;
  return content === undefined ? undefined : roomPolicyIn(content);
}

/** The policy server that the content of an `m.room.policy` names. */
export function roomPolicyIn(content: JsonObject): RoomPolicy | undefined {
  const named = namedIn(content);
  return named && { server: named.server, publicKey: keyFrom(named.key) };
}

/** "Valid means `content` contains at least" both; undefined for all else. */
function namedIn(content: JsonObject): { readonly server: string; readonly key: string } | undefined {
  const server = stringAt(content, 'via');
  const key = stringAt(objectAt(content, 'public_keys') ?? {}, 'ed25519');
  return server === undefined || key === undefined ? undefined : { server, key };
}

/** The specification's own example is written in the URL-safe alphabet. */
function keyFrom(text: string): PublicKey | undefined {
  const urlSafe = decodeBase64Url(text);
  return publicKeyFrom(text) ?? (urlSafe === undefined ? undefined : publicKeyFrom(encodeBase64(urlSafe)));
}

/** "*All* events except for the `m.room.policy` state event itself are checked", so that a room can always free itself. */
export function needsPolicy({ type, stateKey }: Pick<Event, 'type' | 'stateKey'>): boolean {
  return type !== POLICY_TYPE || stateKey !== '';
}

/** True where the event needs no signature of the policy server, or has a valid one. */
export async function isSignedFor(policy: RoomPolicy | undefined, event: Event): Promise<boolean> {
  if (policy === undefined || !needsPolicy(event)) return true;
  const signature = signaturesOf(event.pdu, policy.server).get(POLICY_KEY_ID);
  if (signature === undefined || policy.publicKey === undefined) return false;
  return verify(policy.publicKey, referencedText(event.pdu, event.rules), signature);
}

const UNSIGNED = 'The policy server of the room has not signed the event';

/** Check 7: why the event is not recommended for the room, by its current state; or undefined. */
export async function unsignedBecause(
  ctx: RoomsReader,
  room: Room,
  head: RoomHead,
  event: Event,
): Promise<string | undefined> {
  const policy = await policyOf(ctx, room, head);
  if (await isSignedFor(policy, event)) return undefined;
  return `${UNSIGNED}: ${policy?.server}`;
}

/** True for what is kept as the reason of an event for want of the signature alone: it holds until that comes. */
export function isUnsigned({ reason }: { readonly reason?: string | undefined }): boolean {
  return reason?.startsWith(UNSIGNED) === true;
}

/** A stored event with the signature that a copy of it has, and that the room asks for; the same where it asks for none. */
export async function signedBy(
  ctx: RoomsReader,
  room: Room,
  stored: VerifiedEvent,
  copy: Event,
): Promise<VerifiedEvent | undefined> {
  const policy = await policyOf(ctx, room);
  if (policy === undefined) return stored;
  const signature = signaturesOf(copy.pdu, policy.server).get(POLICY_KEY_ID);
  const signed = signature === undefined ? undefined : withPolicySignature(stored, policy.server, signature);
  return signed !== undefined && (await isSignedFor(policy, signed)) ? signed : undefined;
}

/** The event with the signature; undefined where that makes it too large. Hashes and id stay as they are. */
export function withPolicySignature(
  event: VerifiedEvent,
  server: ServerName,
  signature: string,
): VerifiedEvent | undefined {
  const signatures = objectAt(event.pdu, 'signatures') ?? {};
  const ofServer = { ...(objectAt(signatures, server) ?? {}), [POLICY_KEY_ID]: signature };
  const pdu = { ...event.pdu, signatures: { ...signatures, [server]: ofServer } };
  const signed = eventFrom(pdu, event.rules, { eventId: event.eventId });
  if (Buffer.byteLength(signed.json) > MAX_PDU_BYTES) return undefined;
  markVerified(signed);
  return signed;
}

/** The event with the signature that its room asks for; the same where it has it or needs none. */
export type Asked = { readonly kind: 'event'; readonly event: VerifiedEvent } | Unsigned;

type Asking = RoomsReader & { readonly policySigner?: PolicySigner };

/** `Unsigned` where the signature cannot be had: then the event may be received all the same, and is soft-failed. */
export async function askedToSign(ctx: Asking, room: Room, event: VerifiedEvent): Promise<Asked> {
  return askOf(ctx, await policyOf(ctx, room), event);
}

/** As `askedToSign`, by the policy server that the room uses; undefined where it uses none. */
export async function askOf(
  ctx: Asking,
  policy: RoomPolicy | undefined,
  event: VerifiedEvent,
): Promise<Asked> {
  if (policy === undefined || (await isSignedFor(policy, event))) return { kind: 'event', event };
  const answer = await (ctx.policySigner ?? NOBODY).sign(policy.server, event);
  if (answer.kind !== 'signed') return answer;
  const signed = withPolicySignature(event, policy.server, answer.signature);
  // "Homeservers SHOULD validate the returned signature before continuing to send events."
  if (signed !== undefined && (await isSignedFor(policy, signed))) return { kind: 'event', event: signed };
  return {
    kind: 'unanswered',
    reason: 'the signature of the policy server is not of the key that the room names',
  };
}

/** One sentence for who sent it. */
export function unsignedReason(unsigned: Unsigned): string {
  if (unsigned.kind === 'unanswered') return `The policy server of the room did not sign: ${unsigned.reason}`;
  return stringAt(unsigned.body, 'error') ?? 'The policy server of the room refuses the event';
}
