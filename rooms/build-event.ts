/**
 * Events of our own: drafts filled in, hashed and signed. Hashes, ids and signatures:
 * https://spec.matrix.org/v1.19/server-server-api/#signing-events
 */

import { createHash } from 'node:crypto';
import { encodeCanonical, MAX_DEPTH, parseStrict } from '#keys/canonical-json.ts';
import type { EventId, RoomId, ServerName, UserId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import type { RoomsContext } from './context.ts';
import { eventFrom } from './event.ts';
import { checkFormat, MAX_KEY_BYTES, MAX_PDU_BYTES, maxStateKeyBytes } from './format.ts';
import { opaqueId } from './opaque-id.ts';
import { redact } from './redact.ts';
import { type ReferenceHashes, writeReferences } from './references.ts';
import { signEvent } from './sign-event.ts';
import { markVerified, type VerifiedEvent } from './verified-event.ts';
import type { RoomVersionRules } from './versions.ts';

/** All that a new event says. */
export interface EventParts {
  readonly rules: RoomVersionRules;
  /** Undefined for the create event of a room whose id is that event's hash. */
  readonly roomId: RoomId | undefined;
  readonly sender: UserId;
  readonly type: string;
  readonly stateKey?: string | undefined;
  readonly content: JsonObject;
  readonly redacts?: EventId | undefined;
  /** For how long it is sticky, in milliseconds. */
  readonly stickyMs?: number | undefined;
  readonly originServerTs: number;
  readonly prevEvents: readonly EventId[];
  readonly authEvents: readonly EventId[];
  /** Of those two, where the version cites events by their hashes. */
  readonly referenceHashes?: ReferenceHashes | undefined;
  readonly depth: number;
  /** The server that the event says it is of. No room version asks for it; some servers do. */
  readonly origin?: ServerName | undefined;
}

export type Built =
  | { readonly kind: 'ok'; readonly event: VerifiedEvent }
  | { readonly kind: 'invalid'; readonly reason: string };

/** MSC4354; see `sticky.ts`. */
export const STICKY_MEMBER = 'msc4354_sticky';
const URL_SAFE_IDS = 'urlSafeBase64';

/**
 * Makes and signs an event of ours. Invalid: content that is not canonical JSON, or an event that is too large.
 * Versions 1 to 5 would allow other numbers; servers do not all hash those alike, so that ours hold none.
 */
export function buildEvent(ctx: RoomsContext, parts: EventParts): Built {
  const content = canonicalContent(parts.content);
  if (content === undefined)
    return invalid('The content is not canonical JSON: integers only, 100 levels at most');
  const isPlain = parts.redacts === undefined && parts.origin === undefined && parts.stickyMs === undefined;
  if (parts.roomId === undefined || !isPlain || parts.rules.eventIds !== URL_SAFE_IDS) {
    return buildGenerically(ctx, { ...parts, content: content.value });
  }
  return buildByTemplate(ctx, { ...parts, roomId: parts.roomId }, content);
}

/** The PDU of an event without hashes and signatures. In versions 1 and 2 it gets a new id of this server. */
export function bareEvent(ctx: Pick<RoomsContext, 'serverName'>, parts: EventParts): JsonObject {
  const { roomId, stateKey, redacts, rules, referenceHashes } = parts;
  const content =
    redacts !== undefined && rules.redactsInContent ? { ...parts.content, redacts } : parts.content;
  return {
    auth_events: writeReferences(parts.authEvents, rules, referenceHashes),
    content,
    depth: parts.depth,
    ...(parts.stickyMs !== undefined && { [STICKY_MEMBER]: { duration_ms: parts.stickyMs } }),
    ...(parts.origin !== undefined && { origin: parts.origin }),
    origin_server_ts: parts.originServerTs,
    ...(rules.eventIds === 'chosen' && { event_id: `$${opaqueId()}:${ctx.serverName}` }),
    prev_events: writeReferences(parts.prevEvents, rules, referenceHashes),
    ...(roomId !== undefined && { room_id: roomId }),
    ...(redacts !== undefined && !rules.redactsInContent && { redacts }),
    sender: parts.sender,
    ...(stateKey !== undefined && { state_key: stateKey }),
    type: parts.type,
  };
}

/** Builds any event by the general algorithms. */
export function buildGenerically(ctx: RoomsContext, parts: EventParts): Built {
  const { rules } = parts;
  const pdu = signEvent(bareEvent(ctx, parts), rules, ctx.serverName, ctx.signingKey.keyPair);
  const reason = checkFormat(pdu, rules);
  if (reason !== undefined) return invalid(reason);
  return verifiedOk(pdu, rules, {});
}

/**
 * Builds the same event with less work: only the content is sorted, all around it is written in canonical order.
 * The redacted form gives both the event id and what is signed.
 */
export function buildByTemplate(
  ctx: RoomsContext,
  parts: EventParts & { readonly roomId: RoomId },
  content: CanonicalContent,
): Built {
  const { rules, type, stateKey } = parts;
  const reason =
    tooLong('type', type, MAX_KEY_BYTES) ?? tooLong('state_key', stateKey, maxStateKeyBytes(rules));
  if (reason !== undefined) return invalid(reason);

  const head = `{"auth_events":${JSON.stringify(parts.authEvents)},"content":`;
  const beforeHashes = `,"depth":${parts.depth}`;
  const middle =
    `,"origin_server_ts":${parts.originServerTs},"prev_events":${JSON.stringify(parts.prevEvents)}` +
    `,"room_id":${JSON.stringify(parts.roomId)},"sender":${JSON.stringify(parts.sender)}`;
  const stateKeyMember = stateKey === undefined ? '' : `,"state_key":${JSON.stringify(stateKey)}`;
  const tail = `${stateKeyMember},"type":${JSON.stringify(type)}}`;

  const contentHash = sha256(head + content.text + beforeHashes + middle + tail, 'base64').replace(/=+$/, '');
  const hashes = `${beforeHashes},"hashes":{"sha256":"${contentHash}"}`;
  const redacted = head + redactedContent(type, content, rules) + hashes + middle + tail;
  const { keyId, sign } = ctx.signingKey.keyPair;
  const signatures = { [ctx.serverName]: { [keyId]: sign(redacted) } };
  const json = `${head}${content.text}${hashes}${middle},"signatures":${JSON.stringify(signatures)}${tail}`;
  if (Buffer.byteLength(json) > MAX_PDU_BYTES)
    return invalid(`The event is too large: more than ${MAX_PDU_BYTES} bytes`);
  const pdu = {
    ...bareEvent(ctx, { ...parts, content: content.value }),
    hashes: { sha256: contentHash },
    signatures,
  };
  return verifiedOk(pdu, rules, { eventId: `$${sha256(redacted, 'base64url')}`, json });
}

export interface CanonicalContent {
  readonly text: string;
  readonly value: JsonObject;
}

/** The canonical text of content, and the content as that text says it; undefined where there is no such text. */
export function canonicalContent(content: JsonObject): CanonicalContent | undefined {
  // What a client sent may hold fractions, or halves of surrogate pairs. One level is the event's own.
  const text = encodeCanonical(content);
  const parsed = parseStrict(text, { maxDepth: MAX_DEPTH - 1 });
  return parsed.kind === 'ok' && isObject(parsed.value) ? { text, value: parsed.value } : undefined;
}

function redactedContent(type: string, content: CanonicalContent, rules: RoomVersionRules): string {
  if (!rules.redaction.content.has(type)) return '{}';
  const redacted = redact({ type, content: content.value }, rules);
  return encodeCanonical(redacted.content ?? {});
}

function verifiedOk(
  pdu: JsonObject,
  rules: RoomVersionRules,
  known: { eventId?: EventId; json?: string },
): Built {
  const event = eventFrom(pdu, rules, known);
  markVerified(event);
  return { kind: 'ok', event };
}

function tooLong(name: string, text: string | undefined, most: number): string | undefined {
  if (text === undefined || Buffer.byteLength(text) <= most) return undefined;
  return `${name} is longer than ${most} bytes`;
}

function sha256(text: string, encoding: 'base64' | 'base64url'): string {
  return createHash('sha256').update(text).digest(encoding);
}

function invalid(reason: string): Built {
  return { kind: 'invalid', reason };
}
