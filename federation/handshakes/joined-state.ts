/** Reads the answer to `send_join` while it arrives: of a large room it is too large for memory. */

import { isUtf8 } from 'node:buffer';
import { encodeCanonical, parseLoose } from '#keys/canonical-json.ts';
import { isServerName, type ServerName } from '#keys/ids.ts';
import { isObject, type Json } from '#keys/json.ts';
import { JsonPieces, type Piece } from '#keys/json-pieces.ts';
import { failure } from '../client.ts';
import { MAX_STATE_EVENTS, type Remote } from '../remote/answer.ts';

/** Takes the texts of some events; undefined stands for one that is no text, or too long for an event. */
export type TakeStateEvents = (
  list: 'state' | 'auth_chain',
  texts: readonly (string | undefined)[],
) => Promise<void>;

/** What `send_join` answers beside the state. */
export interface SendJoinAnswer {
  /** The join event, signed by the resident server too where the room is restricted; undefined where not sent. */
  readonly event: string | undefined;
  readonly membersOmitted: boolean;
  readonly serversInRoom: readonly ServerName[];
}

const EVENT_LISTS = ['state', 'auth_chain'] as const;
const SERVER_LIST = 'servers_in_room';
/** "The complete event MUST NOT be larger than 65536 bytes": with white space, escapes and `unsigned` not much more. */
const MAX_EVENT_BYTES = 512 * 1024;
const MAX_SERVERS = 10_000;
/** As many as are verified at once. */
const EVENTS_AT_ONCE = 32;

interface Reading {
  readonly lists: Set<string>;
  readonly members: Map<string, Json | undefined>;
  readonly servers: ServerName[];
  readonly waiting: Map<(typeof EVENT_LISTS)[number], (string | undefined)[]>;
  events: number;
}

/** Reads a body to its end; a failure where it is no such answer. */
export async function readJoinedState(
  body: AsyncIterable<Buffer>,
  { take, isPair }: { readonly take: TakeStateEvents /** As v1 has it. */; readonly isPair: boolean },
): Promise<Remote<SendJoinAnswer>> {
  const pieces = new JsonPieces({
    lists: [...EVENT_LISTS, SERVER_LIST],
    members: ['event', 'members_omitted'],
    maxBytes: MAX_EVENT_BYTES,
    isPair,
  });
  const reading: Reading = {
    lists: new Set(),
    members: new Map(),
    servers: [],
    waiting: new Map(EVENT_LISTS.map((list) => [list, []])),
    events: 0,
  };
  for await (const chunk of body) {
    for (const piece of pieces.push(chunk)) note(reading, piece);
    if (pieces.fault !== undefined) return failure('bad_answer', `the answer is no JSON: ${pieces.fault}`);
    if (reading.events > MAX_STATE_EVENTS) return failure('bad_answer', 'the state has too many events');
    await handOver(reading, take, EVENTS_AT_ONCE);
  }
  const fault = pieces.end();
  if (fault !== undefined) return failure('bad_answer', `the answer is no JSON: ${fault}`);
  if (EVENT_LISTS.some((list) => !reading.lists.has(list)))
    return failure('bad_answer', 'the answer has another shape');
  await handOver(reading, take, 1);
  const event = reading.members.get('event');
  return {
    kind: 'ok',
    value: {
      event: isObject(event) ? encodeCanonical(event) : undefined,
      membersOmitted: reading.members.get('members_omitted') === true,
      serversInRoom: reading.servers,
    },
  };
}

function note(reading: Reading, piece: Piece): void {
  const { kind, key } = piece;
  if (kind === 'list') {
    reading.lists.add(key);
    return;
  }
  if (kind === 'member') {
    reading.members.set(key, jsonOf(piece.bytes));
    return;
  }
  const list = EVENT_LISTS.find((name) => name === key);
  if (list !== undefined) {
    reading.events += 1;
    reading.waiting.get(list)?.push(textOf(piece.bytes));
  } else if (reading.servers.length < MAX_SERVERS) {
    const server = jsonOf(piece.bytes);
    if (isServerName(server)) reading.servers.push(server);
  }
}

/** Hands over what waits, but for the rest that is less than so many: it waits for more. */
async function handOver(reading: Reading, take: TakeStateEvents, portion: number): Promise<void> {
  for (const [list, texts] of reading.waiting) {
    if (texts.length < portion) continue;
    // One list after the other: no more comes until these are taken.
    await take(list, texts.splice(0, texts.length - (texts.length % portion)));
  }
}

function textOf(bytes: Buffer | undefined): string | undefined {
  return bytes !== undefined && isUtf8(bytes) ? bytes.toString() : undefined;
}

function jsonOf(bytes: Buffer | undefined): Json | undefined {
  if (bytes === undefined) return undefined;
  const parsed = parseLoose(bytes);
  return parsed.kind === 'ok' ? parsed.value : undefined;
}
