/** A server of ours that sends to peers of the test's own, over real TLS, from a real database. */

import type { LookupFunction } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { FederationSender, type SenderContext } from '#federation/outbound/sender.ts';
import { PartnerRegistry, type PartnerSettings } from '#federation/partners/registry.ts';
import type { ServerName } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { Presences } from '#storage/presences.ts';
import { TypingUsers } from '#storage/typing.ts';
import type { TestAuthority } from './certificates.ts';
import { type Connected, connectFederation } from './connect.ts';
import { type Peer, type PeerAnswer, startPeer } from './peer.ts';
import { openRooms, type TestRooms } from './rooms.ts';

export interface SendingServer extends AsyncDisposable {
  readonly ctx: SenderContext & Connected & { readonly clock: TestRooms['ctx']['clock'] };
  readonly sender: FederationSender;
  /** Ends the sender and everything in memory, and begins again on the same database. */
  restart(): Promise<void>;
}

export interface SendingOptions extends Pick<SenderContext, 'replayOf'> {
  /** Stands in for the system's resolver of host names. */
  readonly lookup?: LookupFunction;
  /** Nobody is a partner, and everybody is called, unless given. */
  readonly partners?: PartnerSettings;
}

interface Opened extends AsyncDisposable {
  readonly ctx: SendingServer['ctx'];
  readonly sender: FederationSender;
}

/** `here.test`, with its sender started. */
export async function startSending(
  authority: TestAuthority,
  options: SendingOptions = {},
): Promise<SendingServer> {
  const rooms = await openRooms();
  let opened = await open(rooms, authority, options);
  return {
    get ctx() {
      return opened.ctx;
    },
    get sender() {
      return opened.sender;
    },
    restart: async () => {
      await opened[Symbol.asyncDispose]();
      await rooms.restart();
      opened = await open(rooms, authority, options);
    },
    [Symbol.asyncDispose]: async () => {
      await opened[Symbol.asyncDispose]();
      await rooms[Symbol.asyncDispose]();
    },
  };
}

async function open(rooms: TestRooms, authority: TestAuthority, options: SendingOptions): Promise<Opened> {
  const { serverName, signingKey, db, streams, clock } = rooms.ctx;
  const settings = options.partners ?? { inbound: 'everyone', outbound: 'everyone', configured: [] };
  const partners = await PartnerRegistry.open({ db, clock, settings });
  // The back-off runs by the real clock, the events by that of the test.
  const connected: Connected = connectFederation({
    serverName,
    signingKey,
    db,
    clock: Date,
    allowPrivate: true,
    extraCa: authority.cert,
    partners,
    ...(options.lookup !== undefined && { lookup: options.lookup }),
  });
  const { replayOf } = options;
  const typing = new TypingUsers(streams, clock);
  const { log } = rooms.ctx;
  const presence = await Presences.open({ db, streams, clock, log, serverName, mode: 'off' });
  const federation = { version: 'test', publicAddress: undefined, tellsDeviceNames: false };
  const ctx = {
    ...{ ...rooms.ctx, ...connected, typing, presence, federation, partners },
    ...(replayOf !== undefined && { replayOf }),
  };
  const sender = new FederationSender(ctx);
  sender.start();
  await sender.started();
  const dispose = async () => {
    await sender[Symbol.asyncDispose]();
    typing[Symbol.dispose]();
    await connected.client[Symbol.asyncDispose]();
  };
  return { ctx, sender, [Symbol.asyncDispose]: dispose };
}

export interface ReceivedTransaction {
  readonly txnId: string;
  readonly origin: ServerName;
  readonly pdus: readonly JsonObject[];
  readonly edus: readonly JsonObject[];
}

export interface ReceivingPeer extends Peer {
  /** Each attempt, in the order of arrival. */
  readonly attempts: ReceivedTransaction[];
  /** The events of the transactions that were answered with 200, each transaction once, as a server sees them. */
  readonly events: JsonObject[];
  readonly edus: JsonObject[];
  /** The most transactions that were under way at once. */
  readonly mostAtOnce: number;
  /** What the next attempts are answered with; 200 where there is nothing. `hang`: never answered. */
  readonly answers: (PeerAnswer | 'hang' | 'process and hang')[];
  /** The transactions that the peer calls malformed, as long as it does. */
  refuses: (transaction: ReceivedTransaction) => boolean;
}

/** A peer that takes `/send` as a server does: a transaction that it has seen is not processed again. */
export async function startReceiving(
  authority: TestAuthority,
  options: { delayMs?: number } = {},
): Promise<ReceivingPeer> {
  const attempts: ReceivedTransaction[] = [];
  const events: JsonObject[] = [];
  const edus: JsonObject[] = [];
  const answers: ReceivingPeer['answers'] = [];
  const seen = new Set<string>();
  const counts = { running: 0, most: 0 };
  let refuses: ReceivingPeer['refuses'] = () => false;
  const state = {
    attempts,
    events,
    edus,
    answers,
    get refuses() {
      return refuses;
    },
    set refuses(value) {
      refuses = value;
    },
    get mostAtOnce() {
      return counts.most;
    },
  };
  const peer = await startPeer({
    authority,
    answer: async ({ method, url, body }): Promise<PeerAnswer> => {
      const txnId = /^\/_matrix\/federation\/v1\/send\/([^/?]+)$/.exec(url)?.[1];
      if (method !== 'PUT' || txnId === undefined)
        return { status: 404, json: { errcode: 'M_UNRECOGNIZED' } };
      const transaction = transactionOf(txnId, body);
      attempts.push(transaction);
      if (refuses(transaction)) return { status: 400, json: { errcode: 'M_BAD_JSON', error: 'bad' } };
      const planned = answers.shift();
      if (planned === 'hang') return () => undefined;
      if (planned !== undefined && planned !== 'process and hang') return planned;
      counts.running += 1;
      counts.most = Math.max(counts.most, counts.running);
      await sleep(options.delayMs ?? 0);
      counts.running -= 1;
      if (!seen.has(txnId)) {
        seen.add(txnId);
        events.push(...transaction.pdus);
        edus.push(...transaction.edus);
      }
      return planned === 'process and hang' ? () => undefined : { json: { pdus: {} } };
    },
  });
  return Object.defineProperties(peer, Object.getOwnPropertyDescriptors(state)) as ReceivingPeer;
}

function transactionOf(txnId: string, body: string): ReceivedTransaction {
  const parsed: unknown = JSON.parse(body);
  if (!isObject(parsed)) throw new Error('a transaction is no object');
  const { origin, pdus, edus } = parsed;
  if (typeof origin !== 'string' || !Array.isArray(pdus) || !Array.isArray(edus))
    throw new Error('no transaction');
  return { txnId, origin, pdus, edus };
}

/** The bodies of messages, in order. */
export function bodiesOf(events: readonly JsonObject[]): string[] {
  return events
    .filter((event) => event.type === 'm.room.message' && isObject(event.content))
    .map((event) => String((event.content as JsonObject).body));
}

/** An EDU with a name of the test's own. */
export function namedEdu(name: string): JsonObject {
  return { edu_type: 'm.test', content: { name } };
}

/** The names of EDUs that `namedEdu` made. */
export function namesOf(edus: readonly JsonObject[]): unknown[] {
  return edus.map(({ content }) => (isObject(content) ? content.name : undefined));
}

/** Queues an EDU for a peer; our own name among the servers is passed over. */
export function enqueueNamed(
  { ctx, sender }: SendingServer,
  peer: ReceivingPeer,
  name: string,
  replaceKey?: string,
): Promise<void> {
  const queued = { edu: namedEdu(name), ...(replaceKey !== undefined && { replaceKey }) };
  return ctx.db.write('test', (tx) => sender.enqueueEdu(tx, [peer.name, 'here.test'], queued));
}
