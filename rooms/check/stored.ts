/** One stored event by itself: its text, its hashes, our signature, and what its row says of it. */

import { encodeCanonical, parseStrict } from '#keys/canonical-json.ts';
import { verify } from '#keys/ed25519.ts';
import { belongsTo, type ServerName } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { signableBytes, signaturesOf } from '#keys/sign-json.ts';
import type { CheckedRow } from '#storage/check-events.ts';
import { type Event, eventFrom } from '../event.ts';
import { checkFormat } from '../format.ts';
import { eventIdOf, hasContentHash } from '../hashes.ts';
import { redact } from '../redact.ts';
import type { Room } from '../room.ts';
import { requiredSigners } from '../sign-event.ts';
import type { CheckContext } from './context.ts';

export interface Checked {
  readonly findings: readonly string[];
  /** False where the text is not that of an event, so that nothing else can be said of it. */
  readonly isReadable: boolean;
}

/** What does not hold of one stored event. */
export async function checkStored(ctx: CheckContext, room: Room, row: CheckedRow): Promise<Checked> {
  const pdu = readPdu(room, row);
  if (typeof pdu === 'string') return { findings: [`${row.event_id} is damaged: ${pdu}`], isReadable: false };
  const event = eventFrom(pdu, room.rules, { json: row.json });
  const findings = [...checkRow(room, event, row), ...checkHashes(row, event)];
  const unsigned = await checkOwnSignature(ctx, event);
  if (unsigned !== undefined) findings.push(unsigned);
  return { findings, isReadable: true };
}

/** The PDU, or what is wrong with its text: it is stored in canonical form, and has the format of its version. */
function readPdu(room: Room, row: CheckedRow): JsonObject | string {
  const parsed = parseStrict(row.json, { anyNumbers: !room.rules.strictJson });
  if (parsed.kind === 'invalid') return `its text is not canonical JSON: ${parsed.reason}`;
  const pdu = parsed.value;
  if (!isObject(pdu)) return 'its text is no object';
  if (encodeCanonical(pdu) !== row.json) return 'its text is not in canonical form';
  return checkFormat(pdu, room.rules, row.json) ?? pdu;
}

/** What the row repeats of the event, to find it by. */
function checkRow(room: Room, event: Event, row: CheckedRow): string[] {
  const same =
    event.roomId === room.roomId &&
    event.type === row.type &&
    event.stateKey === (row.state_key ?? undefined) &&
    event.sender === row.sender &&
    event.depth === row.depth &&
    event.originServerTs === row.origin_server_ts;
  const findings = same ? [] : [`${row.event_id} is filed under what it is not`];
  if (row.position !== null && row.status !== 'accepted')
    findings.push(`${row.event_id} has a position, and was not accepted`);
  return findings;
}

function checkHashes(row: CheckedRow, { pdu, rules, json }: Event): string[] {
  if (eventIdOf(pdu, rules) !== row.event_id) return [`${row.event_id} is damaged: it has another hash`];
  if (row.redacted_by !== null || hasContentHash(pdu)) return [];
  // One that came with a wrong hash is kept in its redacted form.
  return encodeCanonical(redact(pdu, rules)) === json
    ? []
    : [`${row.event_id} is damaged: its content has another hash`];
}

/** What we must have signed has our signature. One by a key that is not known to us any more says nothing. */
async function checkOwnSignature(ctx: CheckContext, event: Event): Promise<string | undefined> {
  if (ctx.ownKeys === undefined) return undefined;
  if (!requiredSigners(event.pdu, event.rules).includes(ctx.serverName)) return undefined;
  const signatures = signaturesOf(event.pdu, ctx.serverName);
  const message = signableBytes(redact(event.pdu, event.rules));
  let isUnknown = false;
  for (const [keyId, signature] of signatures) {
    const key = ctx.ownKeys.get(keyId);
    // One after the other: there is one.
    if (key === undefined) isUnknown = true;
    else if (await verify(key, message, signature)) return undefined;
  }
  return isUnknown
    ? undefined
    : `${event.eventId} does not have the signature of this server, which it needs`;
}

/** True for a membership of one of the server's users. */
export function isMembershipOf({ type, stateKey }: Event, serverName: ServerName): boolean {
  return type === 'm.room.member' && stateKey !== undefined && belongsTo(stateKey, serverName);
}
