/**
 * A program: the resident server of a large room, and the servers of the room's members, for who joins by it.
 *
 *     node bench/fakes/resident.ts MEMBERS SERVERS FOLDER
 *
 * Every event is signed by the key of its sender's server. Each of these servers answers for its own key, at an address
 * of its own (127.1.0.1, 127.1.0.2, ...). Writes `ca.crt` into the folder, and a line of JSON to standard output once
 * it can be asked. Ends with its standard input.
 */

import { once } from 'node:events';
import fs from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import path from 'node:path';
import { keyAnswer, listenOnLoopback, loopbackServers } from '#bench/lib/loopback-servers.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { EventId, ServerName, UserId } from '#keys/ids.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';

/** What the program says of itself once it can be asked. */
export interface Resident {
  readonly serverName: ServerName;
  readonly roomId: string;
  /** Events in the answer to `send_join`. */
  readonly events: number;
  readonly bytes: number;
}

/** One in so many members was invited, and one in so many changed the name after the join: both lengthen the auth chain. */
const INVITED = 10;
const RENAMED = 10;
const PIECE_LENGTH = 256 * 1024;

interface Room {
  readonly built: TestRoom;
  /** The answer to `send_join`, in pieces. */
  readonly answer: readonly Buffer[];
  readonly events: number;
}

if (import.meta.main) await main(process.argv.slice(2));

async function main([members = '', servers = '', folder = '']: string[]): Promise<void> {
  const authority = await createAuthority();
  fs.writeFileSync(path.join(folder, 'ca.crt'), authority.cert);
  const listening = await loopbackServers(authority, Number(servers));
  const names = await listenOnLoopback(listening, (request, response) => {
    respond(request, response, room).catch((error: unknown) => response.destroy(error as Error));
  });
  const [serverName = ''] = names;
  const room = largeRoom(Number(members), names);
  const bytes = room.answer.reduce((sum, piece) => sum + piece.length, 0);
  const about: Resident = { serverName, roomId: room.built.roomId, events: room.events, bytes };
  console.log(JSON.stringify(about));
  process.stdin.resume();
  await once(process.stdin, 'end');
  process.exit();
}

function largeRoom(members: number, servers: readonly ServerName[]): Room {
  const creator: UserId = `@creator:${servers[0] ?? ''}`;
  const built = roomOf(creator, { version: '11', join_rule: 'public' });
  built.state(creator, 'm.room.name', '', { name: 'A large room' });
  built.state(creator, 'm.room.history_visibility', '', { history_visibility: 'shared' });
  for (let number = 1; number < members; number++) {
    const user: UserId = `@member.number${number}:${servers[number % servers.length] ?? ''}`;
    const content = {
      displayname: `Member Number ${number}`,
      avatar_url: `mxc://media.example.org/${'aBcDeFgHiJkLmNoPqRsTuVwX'.slice(number % 12)}`,
    };
    if (number % INVITED === 1) built.invite(creator, user);
    built.join(user, content);
    if (number % RENAMED === 2) built.join(user, { ...content, displayname: `${number}, renamed` });
  }
  const state = [...built.stateMap.values()];
  const authChain = authChainOf(built, state);
  return { built, answer: answerOf(built, state, authChain), events: state.length + authChain.length };
}

function authChainOf(built: TestRoom, state: readonly Event[]): Event[] {
  const ids = new Set<EventId>(state.flatMap(({ authEvents }) => authEvents));
  for (const eventId of ids) {
    for (const authEventId of built.events.get(eventId)?.authEvents ?? []) ids.add(authEventId);
  }
  return [...ids].map((eventId) => built.events.get(eventId)).filter((event) => event !== undefined);
}

/** In the order in which Synapse writes it: what is told of the state comes before what authorises it. */
function answerOf(built: TestRoom, state: readonly Event[], authChain: readonly Event[]): Buffer[] {
  const origin = JSON.stringify(built.creator.slice(built.creator.indexOf(':') + 1));
  const pieces: Buffer[] = [];
  let piece = `{"members_omitted":false,"origin":${origin},"servers_in_room":[${origin}],"state":[`;
  const lists = [state, authChain];
  for (const [index, list] of lists.entries()) {
    if (index > 0) piece += '],"auth_chain":[';
    for (const [at, event] of list.entries()) {
      piece += at === 0 ? event.json : `,${event.json}`;
      if (piece.length < PIECE_LENGTH) continue;
      pieces.push(Buffer.from(piece));
      piece = '';
    }
  }
  return [...pieces, Buffer.from(`${piece}]}`)];
}

async function respond(request: IncomingMessage, response: ServerResponse, room: Room): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const { pathname } = new URL(request.url ?? '', 'https://resident');
  const [, , , , endpoint = '', , userId = ''] = pathname.split('/').map(decodeURIComponent);
  response.setHeader('content-type', 'application/json');
  if (pathname === '/_matrix/key/v2/server') {
    response.end(keyAnswer(request.headers.host ?? ''));
  } else if (endpoint === 'make_join') {
    const options = { type: 'm.room.member', state_key: userId, content: { membership: 'join' } };
    const event = room.built.draft(`@${userId.slice(1)}` as UserId, options).pdu;
    response.end(encodeCanonical({ room_version: room.built.rules.version, event }));
  } else if (endpoint === 'send_join') {
    // A broken event is found here, not by the server that is measured.
    eventFrom(JSON.parse(Buffer.concat(chunks).toString()), room.built.rules);
    for (const piece of room.answer) if (!response.write(piece)) await once(response, 'drain');
    response.end();
  } else if (pathname.startsWith('/_matrix/federation/v1/send/')) {
    response.end('{"pdus":{}}');
  } else {
    response.writeHead(404).end('{"errcode":"M_UNRECOGNIZED","error":"Not measured"}');
  }
}
