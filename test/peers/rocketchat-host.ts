/**
 * The web server around Rocket.Chat's federation SDK, which itself has no routes: a program of its own, which
 * `rocketchat.ts` starts and talks to over the channel between parent and child.
 *
 * 1. `settings` (the first argument) says where the SDK, its database and its certificate are.
 * 2. Each request is verified by the SDK and goes to the SDK's method for it.
 * 3. `{ id, call, args }` from the parent calls a method of the SDK; `{ id, result }` or `{ id, error }` comes back.
 * 4. What the SDK would show to Rocket.Chat's users goes to the parent as `{ news, event }`.
 */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import path from 'node:path';

export interface HostSettings {
  readonly sdkFolder: string;
  readonly databaseUri: string;
  /** An address of loopback, which is the name too: the SDK finds other servers on port 8448 only. */
  readonly serverName: string;
  readonly signingSeed: string;
  readonly certFile: string;
  readonly keyFile: string;
  /** User names that have an account. */
  readonly users: readonly string[];
}

// biome-ignore lint/suspicious/noExplicitAny: the SDK is not among our packages, so its types are not here
type Any = any;

interface Call {
  readonly origin: string;
  readonly query: URLSearchParams;
  readonly body: Any;
}

interface Route {
  readonly method: string;
  /** After `/_matrix/`; a group for each parameter. */
  readonly path: RegExp;
  /** Whose members' servers may ask: those of the room or of the event in the first parameter. */
  readonly of?: 'room' | 'event';
  readonly isOpen?: true;
  readonly answer: (call: Call, first: string, second: string) => unknown;
}

const settings: HostSettings = JSON.parse(process.argv[2] ?? '');
const { serverName } = settings;
const require = createRequire(path.join(settings.sdkFolder, 'host.js'));
const { init, federationSDK: sdk, NotAllowedError } = require('@rocket.chat/federation-sdk');

class NotServed extends Error {}

const news = [
  'message',
  'membership',
  // A withdrawn invitation to a room that nobody here has joined.
  'membership.rejected',
  'reaction',
  'redaction',
  'typing',
  'receipt',
];

const routes: readonly Route[] = [
  { method: 'GET', path: /^key\/v2\/server$/, isOpen: true, answer: () => sdk.getSignedServerKey() },
  {
    method: 'GET',
    path: /^federation\/v1\/version$/,
    isOpen: true,
    // Rocket.Chat says its own name here, not that of its software.
    answer: () => ({ server: { name: serverName, version: '8.0.0' } }),
  },
  {
    method: 'GET',
    path: /^federation\/v1\/query\/profile$/,
    answer: ({ query }) => sdk.queryProfile(query.get('user_id')),
  },
  {
    method: 'POST',
    path: /^federation\/v1\/user\/keys\/query$/,
    answer: ({ body }) => sdk.queryKeys(body.device_keys),
  },
  {
    method: 'GET',
    path: /^federation\/v1\/user\/devices\/([^/]+)$/,
    answer: () => {
      throw new NotServed();
    },
  },
  {
    method: 'PUT',
    path: /^federation\/v2\/invite\/([^/]+)\/([^/]+)$/,
    answer: async ({ body }, _room, eventId) => {
      const invite = await sdk.processInvite(body.event, eventId, body.room_version, body.invite_room_state);
      return { event: invite.event };
    },
  },
  {
    method: 'GET',
    path: /^federation\/v1\/make_join\/([^/]+)\/([^/]+)$/,
    answer: ({ query }, room, user) => sdk.makeJoin(room, user, query.getAll('ver')),
  },
  {
    method: 'PUT',
    path: /^federation\/v2\/send_join\/([^/]+)\/([^/]+)$/,
    answer: ({ body }, room, event) => sdk.sendJoin(room, event, body),
  },
  {
    method: 'GET',
    path: /^federation\/v1\/make_leave\/([^/]+)\/([^/]+)$/,
    answer: (_, room, user) => sdk.makeLeave(room, user),
  },
  {
    method: 'PUT',
    path: /^federation\/v2\/send_leave\/([^/]+)\/([^/]+)$/,
    answer: async ({ body }, room, event) => {
      await sdk.sendLeave(room, event, body);
      return {};
    },
  },
  {
    method: 'PUT',
    path: /^federation\/v1\/send\/[^/]+$/,
    answer: async ({ origin, body }) => {
      await sdk.processIncomingTransaction({ origin, pdus: body.pdus, edus: body.edus });
      return { pdus: {}, edus: {} };
    },
  },
  {
    method: 'GET',
    path: /^federation\/v1\/event\/([^/]+)$/,
    of: 'event',
    answer: async (_, eventId) => {
      const stored = await sdk.getEventById(eventId);
      // Rocket.Chat adds its name to the event, whatever the event says of it.
      const pdus = [{ ...stored.event, origin: serverName }];
      return { origin: serverName, origin_server_ts: stored.event.origin_server_ts, pdus };
    },
  },
  {
    method: 'GET',
    path: /^federation\/v1\/state\/([^/]+)$/,
    of: 'room',
    answer: ({ query }, room) => sdk.getState(room, query.get('event_id')),
  },
  {
    method: 'GET',
    path: /^federation\/v1\/state_ids\/([^/]+)$/,
    of: 'room',
    answer: ({ query }, room) => sdk.getStateIds(room, query.get('event_id')),
  },
  {
    method: 'GET',
    path: /^federation\/v1\/event_auth\/([^/]+)\/([^/]+)$/,
    of: 'room',
    answer: (_, room, event) => sdk.eventAuth(room, event),
  },
  {
    method: 'GET',
    path: /^federation\/v1\/backfill\/([^/]+)$/,
    of: 'room',
    answer: ({ query }, room) => sdk.getBackfillEvents(room, query.getAll('v'), Number(query.get('limit'))),
  },
  {
    method: 'POST',
    path: /^federation\/v1\/get_missing_events\/([^/]+)$/,
    of: 'room',
    answer: ({ body }, room) =>
      sdk.getMissingEvents(room, body.earliest_events, body.latest_events, body.limit, body.min_depth),
  },
];

await main();

async function main(): Promise<void> {
  await init({ dbConfig: { uri: settings.databaseUri, poolSize: 10 } });
  sdk.setConfig({
    instanceId: 'host',
    serverName,
    matrixDomain: serverName,
    port: 8448,
    version: '8.0.0',
    keyRefreshInterval: 60,
    signingKey: `ed25519 a_rc ${settings.signingSeed}`,
    signingKeyPath: '',
    timeout: 10_000,
    media: {
      maxFileSize: 1_000_000,
      allowedMimeTypes: ['*/*'],
      enableThumbnails: false,
      rateLimits: { uploadPerMinute: 100, downloadPerMinute: 100 },
    },
    // As Rocket.Chat has it unless its administrator says otherwise.
    invite: { allowedEncryptedRooms: false, allowedNonPrivateRooms: false },
    edu: { processTyping: true, processPresence: true, processReceipt: true },
  });
  await prepareDatabase();
  for (const name of news) {
    sdk.eventEmitterService.on(`homeserver.matrix.${name}`, (event: unknown) =>
      process.send?.({ news: name, event }),
    );
  }
  const server = createServer(
    { cert: readFileSync(settings.certFile), key: readFileSync(settings.keyFile) },
    (request, response) => void serve(request, response),
  );
  server.listen(8448, serverName);
  await once(server, 'listening');
  process.on('message', (message: { id: number; call: string; args: unknown[] }) => void perform(message));
  // It ends with its parent.
  process.on('disconnect', () => process.exit(0));
  process.send?.({ id: 0, result: 'ready' });
}

async function prepareDatabase(): Promise<void> {
  const { MongoClient } = require('mongodb');
  const client = await MongoClient.connect(settings.databaseUri);
  const database = client.db();
  // The SDK looks for its users where Rocket.Chat has them.
  const users = database.collection('users');
  for (const username of settings.users) {
    if ((await users.findOne({ username })) === null) await users.insertOne({ username, name: username });
  }
  // Rooms that the SDK was busy with when it was killed stay locked for two minutes: too long for a test.
  await database.collection('rocketchat_federation_locks').deleteMany({});
  await client.close();
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { status, json } = await answerOf(request).catch(answerOfError);
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(json));
}

async function answerOf(request: IncomingMessage): Promise<{ status: number; json: unknown }> {
  const { method = '', url = '' } = request;
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const body = text === '' ? undefined : JSON.parse(text);
  const { pathname, searchParams: query } = new URL(url, 'https://host');
  for (const route of routes) {
    const found = route.path.exec(pathname.slice('/_matrix/'.length));
    if (route.method !== method || found === null) continue;
    const [first = '', second = ''] = found.slice(1).map(decodeURIComponent);
    const { authorization = '' } = request.headers;
    const origin = route.isOpen ? '' : await sdk.verifyRequestSignature(authorization, method, url, body);
    if (origin === undefined) return refusal(401, 'M_UNAUTHORIZED');
    if (origin !== '') sdk.notifyRemoteServerUp(origin);
    if (route.of !== undefined && !(await sdk.canAccessResource(route.of, first, origin))) {
      return refusal(403, 'M_FORBIDDEN');
    }
    const json = await route.answer({ origin, query, body }, first, second);
    return json === null ? refusal(404, 'M_NOT_FOUND') : { status: 200, json };
  }
  return refusal(404, 'M_UNRECOGNIZED');
}

function answerOfError(error: unknown): { status: number; json: unknown } {
  console.error(error);
  if (String(error).includes('too-many-concurrent-transactions')) return refusal(429, 'M_LIMIT_EXCEEDED');
  if (error instanceof NotServed) return refusal(501, 'M_UNRECOGNIZED');
  if (error instanceof NotAllowedError) return refusal(403, 'M_FORBIDDEN', String(error));
  return refusal(500, 'M_UNKNOWN', String(error));
}

function refusal(status: number, errcode: string, error = errcode): { status: number; json: unknown } {
  return { status, json: { errcode, error } };
}

/** A call of the parent. `state` is our own: what the SDK takes for the state of a room. */
async function perform({ id, call, args }: { id: number; call: string; args: unknown[] }): Promise<void> {
  try {
    const result = call === 'state' ? await stateOf(String(args[0])) : await sdk[call](...args);
    process.send?.({ id, result: plain(result) ?? null });
  } catch (error) {
    process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
}

async function stateOf(roomId: string): Promise<unknown> {
  const state = await sdk.getLatestRoomState2(roomId);
  const { name, topic, members, version, powerLevels } = state;
  return { name, topic, members, version, powerLevels };
}

/** What can go through the channel: of an event of the SDK its id. */
function plain(result: Any): unknown {
  if (result === null || typeof result !== 'object') return result;
  if (result.eventId !== undefined) return result.eventId;
  const { room_id, event_id } = result;
  return room_id !== undefined && event_id !== undefined ? { room_id, event_id } : result;
}
