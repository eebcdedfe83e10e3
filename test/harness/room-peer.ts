/**
 * Another server with a room of its own, built by `roomOf`: it lets Kurir in, sends it what the test likes, signed by
 * its real key, and answers as a good server does, unless the test says otherwise.
 */

import { request as httpsRequest, type ServerOptions } from 'node:https';
import { formatXMatrix } from '#federation/x-matrix.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { EventId, UserId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { type Event, eventFrom, stateMapKey } from '#rooms/event.ts';
import { countersign } from '#rooms/sign-event.ts';
import { rulesOf } from '#rooms/versions.ts';
import type { TestAuthority } from './certificates.ts';
import type { Body } from './client.ts';
import { keyDocumentOf, type Peer, type PeerAnswer, type PeerRequest, startPeer } from './peer.ts';
import { keyPairOf, type RoomOptions, roomOf, type TestRoom } from './room-builder.ts';
import type { TestServer } from './server.ts';

export interface PeerResponse {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly body: Body;
}

/** Gives an answer in place of the usual one; undefined for the usual one. */
export type Script = (request: PeerRequest) => PeerAnswer | undefined | Promise<PeerAnswer | undefined>;

class NoSuchEvent extends Error {}

export class RoomPeer {
  readonly #authority: TestAuthority;
  #peer: Peer | undefined;
  #room: TestRoom | undefined;
  #transactions = 0;
  /** The events of the room that the peer says it does not have. */
  readonly hidden = new Set<EventId>();
  script: Script = () => undefined;

  constructor(authority: TestAuthority) {
    this.#authority = authority;
  }

  /** `certificate`: in place of one that Kurir trusts. */
  async start(certificate?: ServerOptions): Promise<this> {
    const answer = (request: PeerRequest) => this.#answer(request);
    this.#peer = await startPeer({ authority: this.#authority, certificate, answer });
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#peer?.[Symbol.asyncDispose]();
  }

  get name(): string {
    return this.peer.name;
  }

  get peer(): Peer {
    if (this.#peer === undefined) throw new Error('the peer is not started');
    return this.#peer;
  }

  get room(): TestRoom {
    if (this.#room === undefined) throw new Error('the peer has no room');
    return this.#room;
  }

  user(localpart: string): UserId {
    return `@${localpart}:${this.name}`;
  }

  /** Makes the room, of the peer's user `mallory`. */
  makeRoom(options: RoomOptions = {}): TestRoom {
    this.#room = roomOf(this.user('mallory'), { join_rule: 'public', ...options });
    return this.#room;
  }

  /** The paths that were asked for, without queries. */
  asked(part: string): string[] {
    return this.peer.requests.map(({ url }) => decodeURIComponent(url)).filter((url) => url.includes(part));
  }

  /** Sends PDUs and EDUs in a transaction; a string is sent as it is. */
  send(
    server: TestServer,
    pdus: readonly (Event | string)[],
    { edus = [], txnId }: { edus?: readonly JsonObject[]; txnId?: string } = {},
  ): Promise<PeerResponse> {
    this.#transactions += 1;
    const texts = pdus.map((pdu) => (typeof pdu === 'string' ? pdu : pdu.json));
    const members = `"origin":${JSON.stringify(this.name)},"origin_server_ts":1`;
    const body = `{"edus":${encodeCanonical(edus)},${members},"pdus":[${texts.join(',')}]}`;
    const id = txnId ?? `t${this.#transactions}`;
    return this.request(server, { method: 'PUT', path: `/_matrix/federation/v1/send/${id}`, body });
  }

  /** A signed request to a server. */
  async request(
    server: TestServer,
    {
      method = 'GET',
      path,
      body,
      as = this.name,
    }: {
      method?: string;
      path: string;
      body?: string | JsonObject;
      /** Another origin to claim. */
      as?: string;
    },
  ): Promise<PeerResponse> {
    const content = typeof body === 'object' ? encodeCanonical(body) : body;
    const destination = server.serverName;
    const target = encodeCanonical({ destination, method, origin: as, uri: path });
    const signed = content === undefined ? target : `{"content":${content},${target.slice(1)}`;
    const { keyId, sign } = keyPairOf(this.name);
    const authorization = formatXMatrix({ origin: as, destination, key: keyId, sig: sign(signed) });
    return new Promise((resolve, reject) => {
      const outgoing = httpsRequest(`${server.federationUrl}${path}`, {
        method,
        headers: { authorization, 'content-type': 'application/json' },
        ca: this.#authority.cert,
        servername: 'localhost',
      });
      outgoing.on('error', reject);
      outgoing.on('response', async (incoming) => {
        const chunks: Buffer[] = [];
        for await (const chunk of incoming) chunks.push(chunk);
        const text = Buffer.concat(chunks).toString();
        const contentType = incoming.headers['content-type'];
        resolve({
          status: incoming.statusCode ?? 0,
          contentType,
          body: text === '' ? undefined : JSON.parse(text),
        });
      });
      outgoing.end(content);
    });
  }

  async #answer(request: PeerRequest): Promise<PeerAnswer> {
    const scripted = await this.script(request);
    if (scripted !== undefined) return scripted;
    try {
      return this.usual(request);
    } catch (error) {
      if (!(error instanceof NoSuchEvent)) throw error;
      return { status: 404, json: { errcode: 'M_NOT_FOUND', error: error.message } };
    }
  }

  /** What a good server answers. */
  usual(request: PeerRequest): PeerAnswer {
    const url = new URL(request.url, 'https://peer');
    const [, , , version, endpoint = '', first = '', second = ''] = url.pathname
      .split('/')
      .map(decodeURIComponent);
    if (version === 'v2' && endpoint === 'server') {
      return {
        json: keyDocumentOf({ name: this.name, signingKey: { keyPair: keyPairOf(this.name), oldKeys: [] } }),
      };
    }
    const body = request.body === '' ? {} : (JSON.parse(request.body) as JsonObject);
    const query = url.searchParams;
    switch (endpoint) {
      case 'make_join':
        return this.#makeMembership(second as UserId, 'join');
      case 'make_leave':
        return this.#makeMembership(second as UserId, 'leave');
      case 'make_knock':
        return this.#makeMembership(second as UserId, 'knock');
      case 'send_knock':
        return this.#sendKnock(body);
      case 'send_join':
        return this.#sendJoin(body);
      case 'send_leave':
        this.#take(body);
        return { json: {} };
      case 'invite':
        return this.#invite(body);
      case 'event':
        return this.#event(first as EventId);
      case 'state_ids':
      case 'state':
        return this.#state(endpoint, query.get('event_id') as EventId);
      case 'event_auth':
        return { json: { auth_chain: pdusOf(this.#authChain([this.#find(second as EventId)])) } };
      case 'backfill':
        return { json: { pdus: pdusOf(this.#before(query.getAll('v'), Number(query.get('limit')))) } };
      case 'get_missing_events':
        return this.#missing(body);
      case 'send':
        return { json: { pdus: {} } };
      default:
        return { status: 404, json: { errcode: 'M_UNRECOGNIZED', error: endpoint } };
    }
  }

  #makeMembership(userId: UserId, membership: string): PeerAnswer {
    const { room } = this;
    const options = { type: 'm.room.member', state_key: userId, content: { membership } };
    return { json: { room_version: room.rules.version, event: room.draft(userId, options).pdu } };
  }

  #sendJoin(pdu: JsonObject): PeerAnswer {
    const state = [...this.room.stateMap.values()];
    const event = this.#take(pdu);
    const chain = this.#authChain([...state, event]);
    return {
      json: {
        event: event.pdu,
        state: pdusOf(state),
        auth_chain: pdusOf(chain),
        origin: this.name,
        members_omitted: false,
        servers_in_room: [this.name],
      },
    };
  }

  #sendKnock(pdu: JsonObject): PeerAnswer {
    const state = [...this.room.stateMap.values()].filter((event) => event.stateKey === '');
    this.#take(pdu);
    return { json: { knock_room_state: pdusOf(state) } };
  }

  #invite(body: JsonObject): PeerAnswer {
    const rules = rulesOf(String(body.room_version));
    const { event } = body;
    if (rules === undefined || !isObject(event))
      return { status: 400, json: { errcode: 'M_BAD_JSON', error: '' } };
    return { json: { event: countersign(event, rules, this.name, keyPairOf(this.name)) } };
  }

  /** Takes an event of another server into the room. */
  #take(pdu: JsonObject): Event {
    const event = eventFrom(pdu, this.room.rules);
    this.room.add(event);
    return event;
  }

  #event(eventId: EventId): PeerAnswer {
    const event = this.#room?.events.get(eventId);
    if (event === undefined || this.hidden.has(eventId)) {
      return { status: 404, json: { errcode: 'M_NOT_FOUND', error: 'Event not found' } };
    }
    return { json: { origin: this.name, origin_server_ts: 1, pdus: [event.pdu] } };
  }

  #state(endpoint: 'state' | 'state_ids', eventId: EventId): PeerAnswer {
    const state = this.stateBefore(this.#find(eventId));
    const chain = this.#authChain(state);
    if (endpoint === 'state') return { json: { pdus: pdusOf(state), auth_chain: pdusOf(chain) } };
    return { json: { pdu_ids: idsOf(state), auth_chain_ids: idsOf(chain) } };
  }

  /** The state before an event of a room that is one line. */
  stateBefore(event: Event): Event[] {
    const state = new Map<string, Event>();
    for (const earlier of this.room.events.values()) {
      if (earlier === event) break;
      if (earlier.stateKey !== undefined) state.set(stateMapKey(earlier.type, earlier.stateKey), earlier);
    }
    return [...state.values()];
  }

  #missing(body: JsonObject): PeerAnswer {
    const { latest_events: latest, earliest_events: earliest, limit } = body;
    const seen = new Set([...(latest as EventId[]), ...(earliest as EventId[])]);
    const found = this.#walk(latest as EventId[], seen).slice(0, Number(limit));
    return { json: { events: pdusOf(found.reverse()) } };
  }

  #before(from: readonly string[], limit: number): Event[] {
    const served = (from as EventId[]).filter((eventId) => !this.hidden.has(eventId));
    const first = served.map((eventId) => this.#find(eventId));
    return [...first, ...this.#walk(served, new Set(from as EventId[]))].slice(0, limit);
  }

  /** What comes before some events, breadth first. */
  #walk(from: readonly EventId[], seen: Set<EventId>): Event[] {
    const found: Event[] = [];
    let level = from.map((eventId) => this.#find(eventId));
    while (level.length > 0) {
      const ids = [...new Set(level.flatMap((event) => event.prevEvents))].filter((id) => !seen.has(id));
      for (const id of ids) seen.add(id);
      level = ids.filter((id) => !this.hidden.has(id)).map((id) => this.#find(id));
      found.push(...level);
    }
    return found;
  }

  #authChain(events: readonly Event[]): Event[] {
    const chain = new Map<EventId, Event>();
    const queue = [...events, this.room.create];
    for (const event of queue) {
      for (const eventId of event.authEvents) {
        if (chain.has(eventId)) continue;
        const found = this.#find(eventId);
        chain.set(eventId, found);
        queue.push(found);
      }
    }
    if (!events.includes(this.room.create)) chain.set(this.room.create.eventId, this.room.create);
    return [...chain.values()];
  }

  #find(eventId: EventId): Event {
    const event = this.room.events.get(eventId);
    if (event === undefined) throw new NoSuchEvent(`the peer has no event ${eventId}`);
    return event;
  }
}

function pdusOf(events: readonly Event[]): JsonObject[] {
  return events.map(({ pdu }) => pdu);
}

function idsOf(events: readonly Event[]): EventId[] {
  return events.map(({ eventId }) => eventId);
}
