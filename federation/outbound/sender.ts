/**
 * Sends what happens here to the servers it concerns. The write of an event of ours leaves a row in
 * `outgoing_events`; the sender turns each row into one outbox row for each server, in one write, and each
 * server's `Destination` takes it from there. Whatever is interrupted goes on after a restart.
 */

import { encodeCanonical } from '#keys/canonical-json.ts';
import { belongsTo, type ServerName, serverNameOf } from '#keys/ids.ts';
import { signaturesOf } from '#keys/sign-json.ts';
import { membershipOf } from '#rooms/event.ts';
import { loadNids } from '#rooms/load.ts';
import { LATE_STICKY } from '#rooms/sticky.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import type { Tx } from '#storage/database.ts';
import * as destinations from '#storage/destinations.ts';
import * as eduOutbox from '#storage/edu-outbox.ts';
import * as events from '#storage/events.ts';
import type { FederationContext, Outbound, OutgoingEdu } from '../context.ts';
import type { PartnerChange } from '../partners/registry.ts';
import { cutOutbox, MOST_OF_FAILING, missedIn, sendLatest } from './catch-up.ts';
import { Destination } from './destination.ts';
import { EduSource } from './edus.ts';
import { JoinedServers } from './joined-servers.ts';
import { TransactionLanes } from './transaction-lanes.ts';

export type SenderContext = Omit<FederationContext, 'sender' | 'inbound'>;

const EVENTS_AT_ONCE = 200;
const SERVERS_AT_ONCE = 1_000;
const RETRY_MS = 1_000;

/** An event of the outgoing ones, and whom it is for. */
interface Queued {
  readonly nid: number;
  readonly servers: ReadonlySet<ServerName>;
  /** Those of them that are not in the room after the event: they cannot fetch it later. */
  readonly outside: ReadonlySet<ServerName>;
  readonly roomNid: number;
  readonly position: number;
}

const NOBODY: ReadonlySet<ServerName> = new Set();

export class FederationSender implements Outbound {
  readonly #ctx: SenderContext;
  readonly #joined: JoinedServers;
  readonly #edus: EduSource;
  readonly #lanes = new TransactionLanes();
  readonly #stop = new AbortController();
  /** One for each server that we share a room with and have had something for. */
  readonly #destinations = new Map<ServerName, Destination>();
  /** Servers that have a row in the table. */
  readonly #stored = new Set<ServerName>();
  /** Events queued for each server since its outbox was last measured. */
  readonly #queued = new Map<ServerName, number>();
  /** Servers whose outbox is to be measured, and those that are behind and answer. */
  readonly #toMeasure = new Set<ServerName>();
  readonly #toCatchUp = new Set<ServerName>();
  #unsubscribe: (() => void)[] = [];
  #draining: Promise<void> | undefined;
  #starting: Promise<void> | undefined;
  #waking: Promise<void> = Promise.resolve();
  #isAwaited = false;
  #position = 0;

  constructor(ctx: SenderContext) {
    this.#ctx = ctx;
    this.#joined = new JoinedServers(ctx);
    this.#edus = new EduSource(ctx, {
      typing: (server, change) => this.#destination(server).typing(change),
      receipts: (server, after) => this.#destination(server).receipts(after),
    });
  }

  /** Goes on where the last process stopped, and tells the servers we share rooms with that we are up. */
  start(): void {
    this.#unsubscribe = [
      this.#ctx.streams.subscribe('outgoing', () => this.#drainSoon()),
      this.#ctx.streams.subscribe(LATE_STICKY, () => this.#wakeSoon()),
      this.#ctx.backoff.onRecovery((server) => this.wake(server)),
      this.#ctx.partners.onChange((change) => this.#greetNewPartners(change)),
    ];
    this.#edus.start();
    this.#drainSoon();
    this.#starting = this.#resume().catch((error: unknown) => {
      this.#ctx.log.error({ err: error }, 'deliveries were not resumed');
    });
  }

  /** Resolves once every delivery of the last process goes on. Never rejects. */
  async started(): Promise<void> {
    await this.#starting;
  }

  wake(server: ServerName): void {
    this.#destinations.get(server)?.wake();
  }

  retry(server: ServerName): void {
    this.#destination(server).retry();
  }

  async enqueueEdu(tx: Tx, servers: Iterable<ServerName>, { edu, replaceKey }: OutgoingEdu): Promise<void> {
    const others = [...servers].filter((server) => server !== this.#ctx.serverName);
    if (others.length === 0) return;
    const position = this.#ctx.streams.upto();
    // One statement each: they come once in the life of a server.
    for (const server of others) {
      if (!this.#stored.has(server)) await destinations.add(tx, server, position);
    }
    const queuedTs = this.#ctx.clock.now();
    await eduOutbox.enqueue(tx, others, { json: encodeCanonical(edu), replaceKey, queuedTs });
    tx.afterCommit(() => {
      for (const server of others) {
        this.#stored.add(server);
        this.#destination(server).wake();
      }
    });
  }

  /** Ends every delivery; what was not answered is sent again by the next process. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#edus[Symbol.dispose]();
    this.#stop.abort();
    await Promise.all([this.#starting, this.#draining, this.#waking]);
    await Promise.all([...this.#destinations.values()].map((destination) => destination.stopped()));
  }

  /** What waits for a server goes as soon as it may. */
  #greetNewPartners({ before, after }: PartnerChange): void {
    for (const [server, destination] of this.#destinations) {
      if (!before.mayCall(server) && after.mayCall(server)) destination.greet();
    }
  }

  #destination(server: ServerName): Destination {
    const known = this.#destinations.get(server);
    if (known !== undefined) return known;
    const { signal } = this.#stop;
    const catchUp = (): void => {
      this.#toCatchUp.add(server);
      this.#drainSoon();
    };
    const destination = new Destination({ ctx: this.#ctx, server, lanes: this.#lanes, signal, catchUp });
    this.#destinations.set(server, destination);
    return destination;
  }

  /** Something was queued for servers that is no news of a room. */
  #wakeSoon(): void {
    this.#waking = this.#waking
      .then(() => this.#wakePending())
      .catch((error: unknown) => {
        this.#ctx.log.error({ err: error }, 'what is queued was not looked for');
      });
  }

  async #resume(): Promise<void> {
    await this.#wakePending();
    for (const server of await destinations.sharingRooms(this.#ctx.db, this.#ctx.serverName)) {
      this.#destination(server).greet();
    }
  }

  async #wakePending(): Promise<void> {
    for (const page of [destinations.withPending, eduOutbox.servers]) {
      let after: ServerName | undefined = '';
      while (after !== undefined) {
        // Page by page, each after the last.
        const servers: ServerName[] = await page(this.#ctx.db, after, SERVERS_AT_ONCE);
        for (const server of servers) this.#destination(server).wake();
        after = servers.at(-1);
      }
    }
  }

  #drainSoon(): void {
    if (this.#stop.signal.aborted) return;
    this.#isAwaited = true;
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined;
      if (this.#isAwaited) this.#drainSoon();
    });
  }

  async #drain(): Promise<void> {
    while (this.#isAwaited && !this.#stop.signal.aborted) {
      this.#isAwaited = false;
      try {
        // Batch by batch, in the order of their positions.
        for (let isMore = true; isMore; ) {
          isMore = await this.#drainBatch();
          await this.#keepUp();
        }
      } catch (error) {
        this.#ctx.log.error({ err: error }, 'events were not queued for other servers');
        this.#isAwaited = true;
        await this.#pause();
      }
    }
  }

  /** True where there may be more. */
  async #drainBatch(): Promise<boolean> {
    const { db, streams } = this.#ctx;
    const range = { after: this.#position, upto: streams.upto(), limit: EVENTS_AT_ONCE };
    const outgoing = await events.outgoing(db, range);
    const last = outgoing.at(-1);
    if (last === undefined || this.#stop.signal.aborted) return false;
    const loaded = await loadNids(
      this.#ctx,
      outgoing.map(({ nid }) => nid),
    );
    const queued: Queued[] = [];
    for (const { nid, position } of outgoing) {
      const stored = loaded.get(nid);
      if (stored === undefined) continue;
      // In order: each room's state is reached from the one before.
      const servers = await this.#serversFor(stored);
      const outside = await this.#outsideAfter(stored, servers);
      queued.push({ nid, servers, outside, roomNid: stored.roomNid, position });
    }
    await this.#enqueue(queued, last.position);
    this.#position = last.position;
    return outgoing.length === EVENTS_AT_ONCE;
  }

  /** Cuts the outboxes that have become too long, and brings those up to date that are behind and answer again. */
  async #keepUp(): Promise<void> {
    for (const server of this.#toMeasure) {
      this.#toMeasure.delete(server);
      // One after the other, each a write of its own.
      const taken = await cutOutbox(this.#ctx, server);
      if (taken > 0)
        this.#ctx.log.info({ server, taken }, 'server misses much: it will get the newest events');
    }
    for (const server of this.#toCatchUp) {
      this.#toCatchUp.delete(server);
      const queued = await sendLatest(this.#ctx, server, (stored) => this.#serversAround(stored));
      this.#ctx.log.info({ server, queued }, 'server is brought up to date');
      this.wake(server);
    }
  }

  /** Only a change of membership leaves a server outside of a room that gets its event. */
  async #outsideAfter(
    { event, roomNid, stateAfter }: StoredEvent,
    servers: ReadonlySet<ServerName>,
  ): Promise<ReadonlySet<ServerName>> {
    if (event.type !== 'm.room.member' || stateAfter === undefined) return NOBODY;
    const after = await this.#joined.at(roomNid, stateAfter);
    return new Set([...servers].filter((server) => !after.has(server)));
  }

  /** What servers that are behind missed of rooms which they are outside of after an event. */
  async #missed({ outside, roomNid, position }: Queued): Promise<{ server: ServerName; nids: number[] }[]> {
    if (outside.size === 0) return [];
    const missed: { server: ServerName; nids: number[] }[] = [];
    for (const [server, after] of await destinations.behindAmong(this.#ctx.db, outside)) {
      const serversAround = (stored: StoredEvent) => this.#serversAround(stored);
      const range = { room: roomNid, after, before: position, serversAround };
      // One after the other: it is rare that there are several.
      missed.push({ server, nids: await missedIn(this.#ctx, server, range) });
    }
    return missed;
  }

  /** The servers that get an event. */
  async #serversFor(stored: StoredEvent): Promise<Set<ServerName>> {
    const { event, roomNid, stateBefore } = stored;
    if (stateBefore === undefined) return new Set();
    if (!belongsTo(event.sender, this.#ctx.serverName)) return this.#serversToTell(stored);
    // We were not in the room: the event went by a handshake, and the resident server sends it to the others.
    const before = await this.#joined.at(roomNid, stateBefore);
    if (before.size > 0 && !before.has(this.#ctx.serverName)) return new Set();
    const servers = await this.#serversAround(stored);
    const target = targetOf(stored);
    if (target !== undefined && target !== this.#ctx.serverName) servers.add(target);
    return servers;
  }

  /**
   * An event that another server handed to us by a handshake (send_join, send_leave): "the resident homeserver sends
   * the event to the other servers participating in the room".
   */
  async #serversToTell(stored: StoredEvent): Promise<Set<ServerName>> {
    const servers = await this.#serversAround(stored);
    const origin = serverNameOf(stored.event.sender);
    // Not signed there is only a third-party invite that we have made in the sender's name.
    const knowsIt = origin !== undefined && signaturesOf(stored.event.pdu, origin).size > 0;
    if (knowsIt) servers.delete(origin);
    return servers;
  }

  /** The other servers in the room before or after the event. */
  async #serversAround({ roomNid, stateBefore, stateAfter }: StoredEvent): Promise<Set<ServerName>> {
    const servers = new Set<ServerName>();
    for (const group of new Set([stateBefore, stateAfter])) {
      if (group === undefined) continue;
      // The second is reached from the first.
      for (const server of (await this.#joined.at(roomNid, group)).keys()) servers.add(server);
    }
    servers.delete(this.#ctx.serverName);
    return servers;
  }

  /** Writes the outbox rows, and that the outgoing events up to a position are queued; wakes the destinations. */
  async #enqueue(queued: readonly Queued[], upto: number): Promise<void> {
    const concerned = new Set(queued.flatMap(({ servers }) => [...servers]));
    const added = [...concerned].filter((server) => !this.#stored.has(server));
    const receiptsPosition = this.#ctx.streams.upto();
    const missed = new Map<Queued, { server: ServerName; nids: number[] }[]>();
    for (const each of queued) missed.set(each, await this.#missed(each));
    await this.#ctx.db.write('federation.enqueue', async (tx: Tx) => {
      // One statement each: they come once in the life of a server.
      for (const server of added) await destinations.add(tx, server, receiptsPosition);
      for (const each of queued) {
        const { nid, servers, outside } = each;
        for (const { server, nids } of missed.get(each) ?? []) {
          for (const earlier of nids) await destinations.enqueueAlways(tx, earlier, [server]);
        }
        if (outside.size > 0) await destinations.enqueueAlways(tx, nid, outside);
        const inside = outside.size > 0 ? servers.difference(outside) : servers;
        if (inside.size > 0) await destinations.enqueue(tx, nid, inside);
      }
      await destinations.deleteOutgoing(tx, upto);
    });
    for (const server of added) this.#stored.add(server);
    for (const { servers } of queued) for (const server of servers) this.#count(server);
    for (const server of concerned) this.#destination(server).wake();
  }

  #count(server: ServerName): void {
    const queued = (this.#queued.get(server) ?? 0) + 1;
    const isDue = queued >= MOST_OF_FAILING;
    if (isDue) this.#toMeasure.add(server);
    this.#queued.set(server, isDue ? 0 : queued);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, RETRY_MS);
      this.#stop.signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/**
 * Whom a change of membership concerns though their server may not be in the room: one who is removed, or whose
 * invitation is withdrawn. An invitation itself goes by `/invite`.
 */
function targetOf({ event }: StoredEvent): ServerName | undefined {
  if (event.type !== 'm.room.member' || event.stateKey === undefined) return undefined;
  return membershipOf(event) === 'invite' ? undefined : serverNameOf(event.stateKey);
}
