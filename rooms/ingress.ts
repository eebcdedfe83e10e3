/**
 * What others send, on its way in: the first three of the checks on receipt of a PDU, for every PDU from anywhere.
 * https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 *
 * 1. "Is a valid event, otherwise it is dropped."
 * 2. "Passes signature checks, otherwise it is dropped."
 * 3. "Passes hash checks, otherwise it is redacted before being processed further."
 *
 * The others are in `receive.ts`.
 */

import {
  type CanonicalMembers,
  canonicalMembers,
  parseMembers,
  pickMembers,
} from '#keys/canonical-members.ts';
import { type SignatureCheck, verifyMany } from '#keys/ed25519.ts';
import type { EventId, ServerName } from '#keys/ids.ts';
import { integerAt, isObject, type JsonObject } from '#keys/json.ts';
import type { KeyRequest } from '#keys/key-ring.ts';
import { signaturesOf } from '#keys/sign-json.ts';
import type { RoomsContext } from './context.ts';
import { type Event, eventFrom, withoutUnsigned } from './event.ts';
import { checkFormat } from './format.ts';
import { eventIdOf, hasContentHash, referencedText } from './hashes.ts';
import { redact } from './redact.ts';
import { requiredSigners } from './sign-event.ts';
import { markVerified, type VerifiedEvent } from './verified-event.ts';
import type { RoomVersionRules } from './versions.ts';

export type { VerifiedEvent } from './verified-event.ts';

export type Ingress =
  /** `redacted`: its content hash was wrong, so that only its redacted form counts. */
  | { readonly kind: 'verified'; readonly event: VerifiedEvent; readonly redacted: boolean }
  /** The event id is undefined where the event has none, since its format is wrong. */
  | { readonly kind: 'dropped'; readonly eventId: EventId | undefined; readonly reason: string }
  /** Bring these keys into the key ring, and ask again; if they cannot be had, the event is dropped. It is not verified. */
  | {
      readonly kind: 'missing_keys';
      readonly eventId: EventId;
      readonly event: Event;
      readonly keys: KeyRequest[];
    };

/** A PDU of valid format. */
interface Read {
  readonly pdu: JsonObject;
  /** Its canonical JSON, perhaps with `unsigned`: what is hashed, signed and kept is all made of it. */
  readonly members: CanonicalMembers;
  /** Canonical, without `unsigned`. */
  readonly json: string;
  /** What is signed, and what its id is the hash of. */
  readonly referenced: string;
  readonly eventId: EventId;
}

/** Judges one PDU by its original text, as `checkEach` does. */
export async function checkIngress(
  ctx: RoomsContext,
  rules: RoomVersionRules,
  text: string,
): Promise<Ingress> {
  const [ingress] = await checkEach(ctx, rules, [text]);
  if (ingress === undefined) throw new Error('an event was not judged');
  return ingress;
}

/**
 * Judges PDUs by their original texts, each by itself, in their order. Keys come from the key ring's memory only;
 * signatures are verified on the thread pool, those of all PDUs together. What else there is to do is done at once, in
 * 10 to 20 us for each: whoever has many gives some at a time.
 */
export async function checkEach(
  ctx: RoomsContext,
  rules: RoomVersionRules,
  texts: readonly string[],
): Promise<Ingress[]> {
  const pdus = texts.map((text) => readValid(text, rules));
  const signers = pdus.map((read) => ('reason' in read ? [] : signersOf(ctx, read, rules)));
  const checks: SignatureCheck[] = [];
  for (const ofPdu of signers) for (const signer of ofPdu) checks.push(...signer.checks);
  const verdicts = await verifyMany(checks);
  const valid = new Set<SignatureCheck>();
  for (const [index, check] of checks.entries()) if (verdicts[index] === true) valid.add(check);
  return pdus.map((read, index) =>
    'reason' in read
      ? { kind: 'dropped', eventId: undefined, reason: read.reason }
      : ingressOf(read, rules, checkSignatures(signers[index] ?? [], valid)),
  );
}

function ingressOf(read: Read, rules: RoomVersionRules, signatures: Signatures): Ingress {
  const { eventId } = read;
  if (signatures.kind === 'missing_keys')
    return { ...signatures, eventId, event: checkHash(read, rules).event };
  if (signatures.kind === 'invalid') return { kind: 'dropped', eventId, reason: signatures.reason };
  const { event, redacted } = checkHash(read, rules);
  markVerified(event);
  return { kind: 'verified', event, redacted };
}

/** Check 1: the format, of the text as it was sent. */
function readValid(text: string, rules: RoomVersionRules): Read | { readonly reason: string } {
  const parsed = parseMembers(text, { anyNumbers: !rules.strictJson });
  if (parsed.kind === 'invalid') return { reason: `The event is not canonical JSON: ${parsed.reason}` };
  if (!isObject(parsed.value)) return { reason: 'The event is not an object' };
  // "unsigned" is what the sending server says beside the event, for nobody but itself.
  const pdu = withoutUnsigned(parsed.value);
  const members = parsed.members ?? canonicalMembers(pdu);
  const json = pickMembers(members, (name) => name !== 'unsigned');
  const reason = checkFormat(pdu, rules, json);
  if (reason !== undefined) return { reason };
  const referenced = referencedText(pdu, rules, members);
  return { pdu, members, json, referenced, eventId: eventIdOf(pdu, rules, referenced) };
}

/** A server that must have signed a PDU. */
interface Signer {
  readonly server: ServerName;
  /** Its signatures by keys that we have, of which one has to hold. */
  readonly checks: readonly SignatureCheck[];
  /** The keys of the others. */
  readonly missing: readonly KeyRequest[];
}

/**
 * What is to be verified for check 2: "First the signature is checked. The event is redacted following the redaction
 * algorithm, and the resultant object is checked for a signature".
 */
function signersOf(ctx: RoomsContext, read: Read, rules: RoomVersionRules): Signer[] {
  return requiredSigners(read.pdu, rules).map((server) => signerOf(ctx, rules, read, server));
}

function signerOf(ctx: RoomsContext, rules: RoomVersionRules, read: Read, server: ServerName): Signer {
  const { pdu, referenced: message } = read;
  const atTs = integerAt(pdu, 'origin_server_ts') ?? 0;
  const checks: SignatureCheck[] = [];
  const missing: KeyRequest[] = [];
  // Nearly always one: a server signs with its current key.
  for (const [keyId, signature] of [...signaturesOf(pdu, server)].slice(0, MOST_SIGNATURES)) {
    const strictValidity = rules.strictKeyValidity;
    const publicKey = ctx.keyRing.cachedKeyFor(server, keyId, { atTs, strictValidity });
    if (publicKey !== undefined) checks.push({ publicKey, message, signature });
    // Our own keys are all in memory: another one is not ours.
    else if (server !== ctx.serverName) missing.push({ server, keyId, atTs });
  }
  return { server, checks, missing };
}

type Signatures =
  | { readonly kind: 'valid' }
  | { readonly kind: 'invalid'; readonly reason: string }
  | { readonly kind: 'missing_keys'; readonly keys: KeyRequest[] };

/** Check 2: one valid signature of each server that must have signed. */
function checkSignatures(signers: readonly Signer[], valid: ReadonlySet<SignatureCheck>): Signatures {
  const open = signers.filter(({ checks }) => !checks.some((check) => valid.has(check)));
  const unsigned = open.find(({ missing }) => missing.length === 0);
  if (unsigned !== undefined)
    return { kind: 'invalid', reason: `The event is not signed by ${unsigned.server}` };
  // Of the keys that these are signed with, those that we have say no, and others we do not have.
  if (open.length > 0) return { kind: 'missing_keys', keys: open.flatMap(({ missing }) => missing) };
  return { kind: 'valid' };
}

/** A server has one key, or two while it changes to another; more cost us work for nothing. */
const MOST_SIGNATURES = 5;

/** Check 3: an event whose content hash is wrong is processed in its redacted form, which has the same id. */
function checkHash(
  read: Read,
  rules: RoomVersionRules,
): { readonly event: Event; readonly redacted: boolean } {
  const { eventId, json } = read;
  if (hasContentHash(read.pdu, read.members))
    return { event: eventFrom(read.pdu, rules, { eventId, json }), redacted: false };
  const pdu = redact(read.pdu, rules);
  return { event: eventFrom(pdu, rules, { eventId }), redacted: true };
}
