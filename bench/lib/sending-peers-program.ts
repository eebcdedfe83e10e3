/**
 * The process of `sending-peers.ts`. Each peer has a room of its own, and is in four that it shares with three others;
 * what the peers say is built and signed before it is sent, so that sending costs little.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { keyAnswer, listenOnLoopback } from '#bench/lib/loopback-servers.ts';
import { draftOf } from '#bench/lib/message-mix.ts';
import type { Answered, ToProgram } from '#bench/lib/sending-peers.ts';
import { formatXMatrix } from '#federation/x-matrix.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { EventId, RoomId, ServerName, UserId } from '#keys/ids.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { keyPairOf, roomOf, type TestRoom } from '#test/harness/room-builder.ts';

const PDUS = 50;
/** How many peers are in a room that is shared. */
const SHARED_BY = 4;
const DESTINATION = 'localhost';
const BUSY_PAUSE_MS = 50;

interface Peer {
  readonly name: ServerName;
  readonly user: UserId;
  readonly agent: Agent;
  /** The room of its own first, then those that it shares: its line in each. */
  lines: TestRoom[];
  bodies: string[];
}

/** What a request is signed by, and the request. */
interface Transaction {
  readonly path: string;
  readonly body: string;
  readonly headers: Record<string, string | number>;
}

const rooms = new Map<RoomId, TestRoom>();
const busy = { count: 0 };
let peers: Peer[] = [];
let transactions = 0;

process.on('message', async (message: ToProgram) => {
  if (message.kind === 'start') process.send?.(await start(message));
  else if (message.kind === 'build') process.send?.(build(message));
  else process.send?.(await send(message.port));
});
process.on('disconnect', () => process.exit());

async function start(options: Extract<ToProgram, { kind: 'start' }>): Promise<Answered['start']> {
  const names = await listenOnLoopback(options.servers, (request, response) => {
    respond(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  const users = names.map((name): UserId => `@user:${name}`);
  const own = users.map((user) => addRoom([user]));
  const shared = users.map((_, index) => addRoom(membersOf(users, index)));
  peers = names.map((name, index) => ({
    name,
    user: users[index] ?? '@nobody:nowhere',
    agent: new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false }),
    lines: [own[index], ...shared.filter((_, room) => isMember(index, room, users.length))].filter(isThere),
    bodies: [],
  }));
  return { rooms: [...rooms.keys()].map((roomId) => ({ roomId, server: serverOf(roomId) })) };
}

function addRoom([creator = '@nobody:nowhere', ...members]: readonly UserId[]): TestRoom {
  const room = roomOf(creator, { join_rule: 'public', members, create: { n: rooms.size } });
  rooms.set(room.roomId, room);
  return room;
}

function membersOf(users: readonly UserId[], room: number): UserId[] {
  return Array.from({ length: SHARED_BY }, (_, index) => users[(room + index) % users.length]).filter(
    isThere,
  );
}

function isMember(peer: number, room: number, count: number): boolean {
  return (peer - room + count) % count < SHARED_BY;
}

function isThere<T>(item: T | undefined): item is T {
  return item !== undefined;
}

function serverOf(roomId: RoomId): ServerName {
  const creator = rooms.get(roomId)?.creator ?? '';
  return creator.slice(creator.indexOf(':') + 1);
}

function build({ events, what }: Extract<ToProgram, { kind: 'build' }>): Answered['build'] {
  const senders = what === 'one' ? peers.slice(0, 1) : peers;
  const each = Math.ceil(events / senders.length / PDUS);
  const eventIds: EventId[] = [];
  // Whoever shares a room has heard nothing of what the others say there meanwhile: a line for each.
  for (const peer of senders) peer.lines = peer.lines.map((line) => line.fork());
  for (const peer of senders) {
    for (let transaction = 0; transaction < each; transaction++) {
      const made = Array.from({ length: PDUS }, (_, index) => {
        const line = peer.lines[what === 'mixed' ? Math.floor((index * peer.lines.length) / PDUS) : 0];
        return say(peer, line, what === 'mixed' ? eventIds.length + index : undefined);
      });
      eventIds.push(...made.map(({ eventId }) => eventId));
      const pdus = made.map(({ json }) => json).join(',');
      peer.bodies.push(
        `{"edus":[],"origin":"${peer.name}","origin_server_ts":${Date.now()},"pdus":[${pdus}]}`,
      );
    }
  }
  return { eventIds };
}

function say({ user }: Peer, line: TestRoom | undefined, number: number | undefined): Event {
  if (line === undefined) throw new Error('the peer has no room');
  // What the mix says 0 to 99 times: an encrypted message, unless the number is of something else.
  const { type, content, stateKey, redacts } = draftOf(number ?? 0, {
    roomId: line.roomId,
    sender: user,
    moderator: user,
  });
  const all = redacts === undefined ? content : { ...content, redacts };
  const origin_server_ts = Date.now();
  return line.send(user, {
    ...{ type, content: all, origin_server_ts },
    ...(stateKey !== undefined && { state_key: stateKey }),
  });
}

/** All peers at once, each its transactions one after the other, as servers do. */
async function send(port: number): Promise<Answered['send']> {
  const latencies: number[] = [];
  busy.count = 0;
  await Promise.all(
    peers.map(async (peer) => {
      for (const body of peer.bodies.splice(0)) latencies.push(await deliver(peer, port, signed(peer, body)));
    }),
  );
  return { latencies, busy: busy.count };
}

function signed({ name }: Peer, body: string): Transaction {
  transactions += 1;
  const path = `/_matrix/federation/v1/send/t${transactions}`;
  const target = encodeCanonical({ destination: DESTINATION, method: 'PUT', origin: name, uri: path });
  const { keyId, sign } = keyPairOf(name);
  const sig = sign(`{"content":${body},${target.slice(1)}`);
  const authorization = formatXMatrix({ origin: name, destination: DESTINATION, key: keyId, sig });
  const length = Buffer.byteLength(body);
  return {
    path,
    body,
    headers: { authorization, 'content-type': 'application/json', 'content-length': length },
  };
}

/** Sends until it is taken; answers how long the answer that took it was waited for, in milliseconds. */
async function deliver(peer: Peer, port: number, transaction: Transaction): Promise<number> {
  for (;;) {
    const began = performance.now();
    // Again and again: only a 200 is a delivery.
    const status = await put(peer, port, transaction);
    if (status === 200) return performance.now() - began;
    if (status !== 429) throw new Error(`a transaction was answered ${status}`);
    busy.count += 1;
    await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS));
  }
}

function put({ agent }: Peer, port: number, { path, body, headers }: Transaction): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = { agent, method: 'PUT', headers, servername: DESTINATION };
    const outgoing = httpsRequest(`https://127.0.0.1:${port}${path}`, options, (incoming) => {
      incoming.resume();
      incoming.on('end', () => resolve(incoming.statusCode ?? 0));
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** What Kurir asks to come into the rooms. */
async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const { pathname } = new URL(request.url ?? '', 'https://peer');
  const [, , , , endpoint = '', roomId = '', userId = ''] = pathname.split('/').map(decodeURIComponent);
  const room = rooms.get(roomId as RoomId);
  response.setHeader('content-type', 'application/json');
  if (pathname === '/_matrix/key/v2/server') {
    response.end(keyAnswer(request.headers.host ?? ''));
  } else if (endpoint === 'send') {
    response.end('{"pdus":{}}');
  } else if (room === undefined) {
    response.writeHead(404).end('{"errcode":"M_UNRECOGNIZED","error":"Not measured"}');
  } else if (endpoint === 'make_join') {
    const options = { type: 'm.room.member', state_key: userId, content: { membership: 'join' } };
    const event = room.draft(userId as UserId, options).pdu;
    response.end(encodeCanonical({ room_version: room.rules.version, event }));
  } else {
    const join = eventFrom(JSON.parse(Buffer.concat(chunks).toString()), room.rules);
    const state = [...room.stateMap.values()].map(({ pdu }) => pdu);
    const auth_chain = [...room.events.values()].map(({ pdu }) => pdu);
    const origin = serverOf(room.roomId);
    room.add(join);
    response.end(encodeCanonical({ event: join.pdu, state, auth_chain, origin, members_omitted: false }));
  }
}
