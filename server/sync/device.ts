/** What /sync tells of a user's devices: https://spec.matrix.org/v1.19/client-server-api/#e2e-extensions-to-sync */

import * as deviceLists from '#storage/device-lists.ts';
import * as e2eeKeys from '#storage/e2ee-keys.ts';
import { deviceKey } from '../auth/sessions.ts';
import type { SyncAnswer, SyncContext } from './context.ts';
import { changedAfter } from './sync-users.ts';

export interface DevicePart {
  /** Members of the answer, without braces. */
  readonly json: string;
  /** True where there is something that the client should be told at once. */
  readonly hasNews: boolean;
  /** Where the device's inbox continues. */
  readonly inbox: number;
}

/** Messages to the device, changes of other users' devices, and how many keys the device has left. */
export async function devicePart(sync: SyncContext, answer: SyncAnswer): Promise<DevicePart> {
  const { server, inboxes } = sync;
  const { request, upto } = answer;
  const { requester } = request;
  const inbox = await inboxes.read(server, requester, { after: request.inbox, upto });
  const lists = await changedLists(sync, answer);
  const parts = [await keyCounts(sync, request, upto)];
  if (inbox.messages.length > 0) parts.push(`"to_device":{"events":[${inbox.messages.join(',')}]}`);
  if (lists !== undefined) parts.push(`"device_lists":${JSON.stringify(lists)}`);
  const hasNews = inbox.messages.length > 0 || lists !== undefined;
  return { json: parts.join(','), hasNews, inbox: inbox.last };
}

/** `device_lists`. "Note: only present on an incremental sync": undefined also where nothing changed. */
export async function changedLists(
  { server }: SyncContext,
  {
    request,
    user,
    news,
    upto,
  }: Pick<SyncAnswer, 'user' | 'news' | 'upto'> & {
    readonly request: Pick<SyncAnswer['request'], 'since'>;
  },
): Promise<{ changed: readonly string[]; left: readonly string[] } | undefined> {
  const { since } = request;
  if (since === undefined) return undefined;
  const { streams } = server;
  const mayShareOthers =
    streams.mayConcern('memberships', since) &&
    (changedAfter(user.others, since).length > 0 ||
      [...news].some(({ joinedAt, keys }) => joinedAt > since || streams.mayConcern(keys.state, since)));
  if (!streams.mayConcern('device_lists', since) && !mayShareOthers) return undefined;
  const lists = await deviceLists.changedSince(server.db, user.userId, { after: since, upto });
  return lists.changed.length === 0 && lists.left.length === 0 ? undefined : lists;
}

/** `keyCounts`, where nothing has concerned the user, by their key of the streams, since they were read. */
export function knownKeyCounts(
  { server, keyCounts: known }: SyncContext,
  requester: SyncAnswer['request']['requester'],
  userKey: string,
): string | undefined {
  const kept = known.get(deviceKey(requester));
  const isCurrent = kept !== undefined && !server.streams.mayConcern(userKey, kept.asOf);
  return isCurrent ? kept.json : undefined;
}

/**
 * How many keys the device has left, as members of an object without braces: from memory, unless something has concerned
 * the user since they were read.
 */
export async function keyCounts(
  sync: SyncContext,
  { requester }: Pick<SyncAnswer['request'], 'requester'>,
  upto: number,
): Promise<string> {
  const { userId, deviceId } = requester;
  const known = knownKeyCounts(sync, requester, `user:${userId}`);
  if (known !== undefined) return known;
  const { server } = sync;
  const counts = await e2eeKeys.oneTimeKeyCounts(server.db, userId, deviceId);
  const unused = await e2eeKeys.unusedFallbackTypes(server.db, userId, deviceId);
  // Clients that find no count upload no keys: those of the usual algorithm are counted where there are none too.
  const byAlgorithm = { signed_curve25519: 0, ...Object.fromEntries(counts) };
  const text = `"device_one_time_keys_count":${JSON.stringify(byAlgorithm)},"device_unused_fallback_key_types":${JSON.stringify(unused)}`;
  const json = sync.keyTexts.get(text) ?? text;
  sync.keyTexts.set(text, json);
  sync.keyCounts.set(deviceKey(requester), { json, asOf: upto });
  return json;
}
