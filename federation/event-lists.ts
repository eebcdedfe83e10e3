import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { JsonObject } from '#keys/json.ts';

/** About as much as a connection takes at once. */
const PIECE_LENGTH = 64 * 1024;

/**
 * Answers with a JSON object of some members and some lists of events. The events are written as they are stored,
 * piece by piece as the other side reads: the state of a large room is not put together in memory. With `asPair` it
 * is the second item of an array behind 200, as the first version of some endpoints has it.
 */
export function sendEventLists(
  reply: FastifyReply,
  members: JsonObject,
  lists: { readonly [name: string]: readonly string[] },
  options: { readonly asPair?: boolean } = {},
): FastifyReply {
  const pieces = piecesOf(members, lists);
  return reply
    .type('application/json')
    .send(Readable.from(options.asPair === true ? paired(pieces) : pieces));
}

function* paired(pieces: Iterable<string>): Generator<string> {
  yield '[200,';
  yield* pieces;
  yield ']';
}

function* piecesOf(
  members: JsonObject,
  lists: { readonly [name: string]: readonly string[] },
): Generator<string> {
  let piece = '{';
  let separator = '';
  for (const [name, value] of Object.entries(members)) {
    piece += `${separator}${JSON.stringify(name)}:${JSON.stringify(value)}`;
    separator = ',';
  }
  for (const [name, events] of Object.entries(lists)) {
    piece += `${separator}${JSON.stringify(name)}:[`;
    separator = ',';
    for (const [index, text] of events.entries()) {
      piece += index === 0 ? text : `,${text}`;
      if (piece.length < PIECE_LENGTH) continue;
      yield piece;
      piece = '';
    }
    piece += ']';
  }
  yield `${piece}}`;
}
