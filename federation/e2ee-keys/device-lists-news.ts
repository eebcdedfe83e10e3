/**
 * Tells other servers what changes in the devices and keys of our users. The write of a change leaves a row in
 * `outgoing_device_lists`; each row becomes an EDU for every server that shares a room with the user, queued in the
 * write that removes the row. Whatever is interrupted goes on after a restart.
 *
 * "Servers must send m.device_list_update EDUs to all the servers who share a room with a given local user, and must be
 * sent whenever that user's device list changes (i.e. for new or deleted devices, when that user joins a room which
 * contains servers which are not already receiving updates for that user's device list, or changes in device
 * information)": https://spec.matrix.org/v1.19/server-server-api/#device-management
 *
 * A server that was away gets of each user the last update only. By its number it sees that it has missed others, and
 * asks for the whole list.
 */

import type { ServerName, UserId } from '#keys/ids.ts';
import { joinedServers } from '#rooms/room.ts';
import { Slices } from '#rooms/slices.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as devices from '#storage/devices.ts';
import * as memberships from '#storage/memberships.ts';
import * as outgoing from '#storage/outgoing-device-lists.ts';
import type { FederationContext, OutgoingEdu } from '../context.ts';
import { ownKeys, serverViewer } from './device-lists-own.ts';

type NewsContext = Pick<
  FederationContext,
  'db' | 'rooms' | 'streams' | 'serverName' | 'log' | 'sender' | 'federation'
>;

/** An EDU, and whom it is for. */
interface News {
  readonly edu: OutgoingEdu;
  readonly servers: ReadonlySet<ServerName>;
}

const ROWS_AT_ONCE = 50;
const RETRY_MS = 5_000;

export class DeviceListNews {
  readonly #ctx: NewsContext;
  readonly #slices = new Slices();
  #unsubscribe: (() => void)[] = [];
  #draining: Promise<void> | undefined;
  #isAwaited = false;
  #isStopped = false;
  #retry: NodeJS.Timeout | undefined;

  constructor(ctx: NewsContext) {
    this.#ctx = ctx;
  }

  /** Takes up what the last process left. */
  start(): void {
    const { streams } = this.#ctx;
    this.#unsubscribe = ['device_lists', 'memberships'].map((key) =>
      streams.subscribe(key, () => this.#drainSoon()),
    );
    this.#drainSoon();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    clearTimeout(this.#retry);
    await this.#draining;
  }

  #drainSoon(): void {
    if (this.#isStopped) return;
    this.#isAwaited = true;
    this.#draining ??= this.#drain()
      .catch((error: unknown) => {
        this.#ctx.log.error({ err: error }, 'changes of devices were not queued for other servers');
        this.#isAwaited = false;
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => this.#drainSoon(), RETRY_MS).unref();
      })
      .finally(() => {
        this.#draining = undefined;
        if (this.#isAwaited) this.#drainSoon();
      });
  }

  async #drain(): Promise<void> {
    this.#isAwaited = false;
    while (!this.#isStopped) {
      // Portion by portion, in the order in which it came to be.
      const rows = await outgoing.first(this.#ctx.db, ROWS_AT_ONCE);
      if (rows.length === 0) return;
      const news: News[] = [];
      for (const row of rows) {
        // Others have their turn.
        await this.#slices.rest();
        news.push(...(await newsOf(this.#ctx, row)));
      }
      await this.#ctx.db.write('federation.deviceLists', async (tx) => {
        for (const { edu, servers } of news) await this.#ctx.sender.enqueueEdu(tx, servers, edu);
        await outgoing.remove(
          tx,
          rows.map(({ seq }) => seq),
        );
      });
    }
  }
}

async function newsOf(ctx: NewsContext, row: outgoing.OutgoingDeviceList): Promise<News[]> {
  const { userId } = row;
  const servers =
    row.kind === 'joined' ? await newServersFor(ctx, row) : await serversSharedWith(ctx, userId, undefined);
  servers.delete(ctx.serverName);
  if (servers.size === 0) return [];
  switch (row.kind) {
    case 'update':
      return [{ servers, edu: await deviceEdu(ctx, userId, row) }];
    case 'signing_keys':
      return (await signingKeysEdus(ctx, userId)).map((edu) => ({ servers, edu }));
    case 'joined': {
      // What others have got last: from it a server sees whether what it may know from earlier is still right.
      const last = await deviceLists.lastUpdateOf(ctx.db, userId);
      const device = last === undefined ? [] : [await deviceEdu(ctx, userId, last)];
      return [...device, ...(await signingKeysEdus(ctx, userId))].map((edu) => ({ servers, edu }));
    }
  }
}

/** The servers in a room that the user has joined, without those that shared another room with the user before. */
async function newServersFor(
  ctx: NewsContext,
  { userId, roomNid, position }: outgoing.OutgoingDeviceList & { kind: 'joined' },
): Promise<Set<ServerName>> {
  const servers = new Set(await joinedServers(ctx, roomNid));
  servers.delete(ctx.serverName);
  // Most rooms have members of this server only: then the others of the user need not be looked at.
  if (servers.size === 0) return servers;
  return servers.difference(await serversSharedWith(ctx, userId, { before: position }));
}

/** The servers in all rooms of the user, or in those that the user was in before a position. */
async function serversSharedWith(
  ctx: NewsContext,
  userId: UserId,
  since: { readonly before: number } | undefined,
): Promise<Set<ServerName>> {
  const servers = new Set<ServerName>();
  for (const { membership, roomNid, position } of await memberships.ofUser(ctx.db, userId)) {
    if (membership !== 'join' || (since !== undefined && position >= since.before)) continue;
    // Room by room, mostly from memory: after a room of many of ours was joined, it is asked for again and again.
    for (const server of await joinedServers(ctx, roomNid)) servers.add(server);
  }
  return servers;
}

async function deviceEdu(
  ctx: NewsContext,
  userId: UserId,
  { deviceId, streamId, prevStreamId }: deviceLists.LastUpdate,
): Promise<OutgoingEdu> {
  const { db } = ctx;
  const device = await devices.of(db, userId, deviceId);
  const keys = (await ownKeys(db, [userId], serverViewer(ctx))).get(userId)?.devices.get(deviceId);
  const content = {
    user_id: userId,
    device_id: deviceId,
    stream_id: streamId,
    prev_id: prevStreamId === 0 ? [] : [prevStreamId],
    ...(device === undefined ? { deleted: true } : keys !== undefined && { keys }),
  };
  const edu = { edu_type: 'm.device_list_update', content };
  return { edu, replaceKey: `m.device_list_update ${userId}` };
}

/** None where the user has no such keys. */
async function signingKeysEdus({ db }: NewsContext, userId: UserId): Promise<OutgoingEdu[]> {
  const keys = (await ownKeys(db, [userId], 'server')).get(userId);
  if (keys?.masterKey === undefined) return [];
  const content = {
    user_id: userId,
    master_key: keys.masterKey,
    ...(keys.selfSigningKey !== undefined && { self_signing_key: keys.selfSigningKey }),
  };
  const edu = { edu_type: 'm.signing_key_update', content };
  return [{ edu, replaceKey: `m.signing_key_update ${userId}` }];
}
