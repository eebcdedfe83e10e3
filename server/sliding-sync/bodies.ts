/** The bodies of requests, read: a client sends the same bytes again and again, and so do all who use it. */

import { badJson, invalidParam } from '#federation/errors.ts';
import { isObject, type JsonObject, own } from '#keys/json.ts';
import { Lru } from '#storage/lru.ts';
import { optionalInteger, optionalObject, optionalString } from '../body.ts';
import { OF_CLIENTS, parseBody } from '../http/json-body.ts';
import { presenceOf } from './parameters.ts';
import { LONGEST_KEPT, RoomRequests } from './parse.ts';
import { connIdOf, extensionOf, stickyEventsOf, threadSubscriptionsOf, toDeviceOf } from './parse-parts.ts';
import type { Face, SlidingBody } from './request.ts';

const MOST_KEPT = 500;

export class Bodies {
  readonly #rooms = new RoomRequests();
  readonly #known: Readonly<Record<Face, Lru<string, SlidingBody>>> = {
    experimental: new Lru({ maxEntries: MOST_KEPT }),
    stable: new Lru({ maxEntries: MOST_KEPT }),
  };

  /** Throws what is wrong with it. */
  read(face: Face, bytes: Buffer): SlidingBody {
    if (bytes.length > LONGEST_KEPT) return this.#parse(face, bytes);
    // A character for each byte: whether they are UTF-8 is another question.
    const text = bytes.toString('latin1');
    const known = this.#known[face].get(text);
    if (known !== undefined) return known;
    const body = this.#parse(face, bytes);
    if (isSentAgain(body)) this.#known[face].set(text, body);
    return body;
  }

  #parse(face: Face, bytes: Buffer): SlidingBody {
    const body = bytes.length === 0 ? {} : parseBody(bytes, OF_CLIENTS);
    if (!isObject(body)) throw badJson('The body must be a JSON object');
    const extensions = optionalObject(body, 'extensions') ?? {};
    return {
      connId: connIdOf(body),
      ...parametersOf(body),
      rooms: this.#rooms.parse(face, body),
      toDevice: toDeviceOf(extensions),
      e2ee: extensionOf(extensions, 'e2ee') !== undefined,
      stickyEvents: stickyEventsOf(extensions),
      threadSubscriptions: threadSubscriptionsOf(extensions),
    };
  }
}

/** False for one that says where it continues: the next one will say something else. */
function isSentAgain({ pos, toDevice, stickyEvents }: SlidingBody): boolean {
  return pos === undefined && (toDevice?.since ?? 0) === 0 && (stickyEvents?.since ?? 0) === 0;
}

function parametersOf(body: JsonObject): Pick<SlidingBody, 'pos' | 'timeoutMs' | 'presence'> {
  const timeoutMs = optionalInteger(body, 'timeout') ?? 0;
  if (timeoutMs < 0) throw invalidParam('timeout must not be negative');
  return { pos: optionalString(body, 'pos'), timeoutMs, presence: presenceOf(own(body, 'set_presence')) };
}
