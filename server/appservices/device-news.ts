/**
 * What a service needs for encryption: messages to the devices of its users (MSC4203), whose devices have changed, and
 * how many keys its devices have left (MSC3202).
 */

import { isUserId, type UserId } from '#keys/ids.ts';
import { membershipOf } from '#rooms/event.ts';
import * as news from '#storage/appservice-news.ts';
import type { DeviceRef } from '#storage/e2ee-keys.ts';
import * as e2eeKeys from '#storage/e2ee-keys.ts';
import { Lru } from '#storage/lru.ts';
import * as presence from '#storage/presence.ts';
import { deviceKey } from '../auth/sessions.ts';
import type { Appservice } from './appservice.ts';
import type { Listener } from './compose.ts';
import type { NewsContext } from './context.ts';
import type { EventNews } from './event-news.ts';
import type { Interest } from './interest.ts';

/** What the streams announce it by. */
export const DEVICE_KEYS = ['to_device', 'device_lists'];
const MOST_MESSAGES = 200;
const MOST_LISTS = 500;
const MOST_DEVICES = 10_000;

export type Message = DeviceRef & { readonly position: number; readonly json: string };

export interface DevicePage {
  readonly messages: readonly Message[];
  readonly changed: readonly { readonly userId: UserId; readonly position: number }[];
  readonly upto: number;
}

/** The next messages to devices, and changes of devices, of all users. */
export async function devicePage(
  ctx: NewsContext,
  range: { readonly after: number; readonly upto: number },
): Promise<DevicePage> {
  const { streams, db } = ctx;
  const messages = streams.mayConcern('to_device', range.after)
    ? await news.messages(db, { ...range, limit: MOST_MESSAGES })
    : [];
  const changed = streams.mayConcern('device_lists', range.after)
    ? await news.changedDeviceLists(db, { ...range, limit: MOST_LISTS })
    : [];
  const ends = [
    messages.length === MOST_MESSAGES ? messages.at(-1)?.position : undefined,
    changed.length === MOST_LISTS ? changed.at(-1)?.position : undefined,
  ];
  return { messages, changed, upto: Math.min(range.upto, ...ends.filter((end) => end !== undefined)) };
}

/**
 * The messages that are for the service: to devices of users who are its alone; of others, to those that nobody else
 * can read, since nobody is signed in on them. Where an authentication service signs people in, only that knows, and all
 * devices that it has not made are removed: there are none.
 */
export async function messagesFor(
  ctx: NewsContext,
  { service, isAnothers }: Pick<Listener, 'service' | 'isAnothers'>,
  messages: readonly Message[],
): Promise<Message[]> {
  if (ctx.config.mas !== undefined)
    return messages.filter(({ userId }) => service.belongingOf(userId) === 'exclusive');
  const shared = new Set(
    messages.map(({ userId }) => userId).filter((userId) => service.belongingOf(userId) === 'shared'),
  );
  const others = shared.size === 0 ? [] : await news.devicesOfOthers(ctx.db, [...shared]);
  const keys = new Set(others.map(deviceKey));
  return messages.filter(
    (message) =>
      service.hasUser(message.userId) && !isAnothers(message.userId) && !keys.has(deviceKey(message)),
  );
}

export function messageText({ userId, deviceId, json }: Message): string {
  const addressee = `"to_user_id":${JSON.stringify(userId)},"to_device_id":${JSON.stringify(deviceId)}`;
  return `${json.slice(0, -1)},${addressee}}`;
}

export interface DeviceLists {
  readonly changed: readonly UserId[];
  readonly left: readonly UserId[];
}

/** Of users in the rooms that the service is told of: those whose devices changed, who came, and who are gone. */
export async function deviceListNews(
  ctx: NewsContext,
  interest: Interest,
  given: { readonly changed: DevicePage['changed']; readonly events: readonly EventNews[] },
): Promise<DeviceLists> {
  const came = new Set<UserId>();
  const went = new Set<UserId>();
  for (const { stored } of given.events) {
    const { event } = stored;
    const membership = membershipOf(event);
    if (!isUserId(event.stateKey) || membership === undefined) continue;
    if (membership === 'join') came.add(event.stateKey);
    else if (membership !== 'invite' && membership !== 'knock') went.add(event.stateKey);
  }
  const roomsOf = (userId: UserId) => presence.roomsOf(ctx.db, [userId]);
  const changed = given.changed.map(({ userId }) => userId);
  const seen = await interest.inTouchWith(new Set([...changed, ...came, ...went]), roomsOf);
  const inTouch = new Set(seen);
  return {
    changed: seen.filter((userId) => came.has(userId) || changed.includes(userId)),
    left: [...went].filter((userId) => !inTouch.has(userId)),
  };
}

/** What the devices of a service have left, as it was last told. */
export class KeyCounts {
  readonly #told = new Lru<string, string>({ maxEntries: MOST_DEVICES });

  /** The counts of those devices for which they are others than before, or all of `wanted`. */
  async news(
    ctx: NewsContext,
    service: Appservice,
    { after, wanted }: { readonly after: number; readonly wanted: ReadonlySet<UserId> },
  ): Promise<{ counts: NestedCounts; fallback: NestedTypes; devices: number }> {
    const counts: NestedCounts = {};
    const fallback: NestedTypes = {};
    let devices = 0;
    const users = new Set([...wanted, ...(await this.#concerned(ctx, service, after))]);
    for (const device of await news.devicesWithKeys(ctx.db, [...users])) {
      const { userId, deviceId } = device;
      // One after the other: few devices of a service have keys.
      const left = await e2eeKeys.oneTimeKeyCounts(ctx.db, userId, deviceId);
      const unused = await e2eeKeys.unusedFallbackTypes(ctx.db, userId, deviceId);
      const byAlgorithm = { signed_curve25519: 0, ...Object.fromEntries(left) };
      const text = JSON.stringify([byAlgorithm, unused]);
      if (this.#told.get(deviceKey(device)) === text && !wanted.has(userId)) continue;
      this.#told.set(deviceKey(device), text);
      counts[userId] = { ...counts[userId], [deviceId]: byAlgorithm };
      fallback[userId] = { ...fallback[userId], [deviceId]: unused };
      devices += 1;
    }
    return { counts, fallback, devices };
  }

  /** Users of the service of whom something has changed. Where that is not known any more, its own user. */
  async #concerned(ctx: NewsContext, service: Appservice, after: number): Promise<UserId[]> {
    const keys = ctx.streams.keysSince(after, MOST_DEVICES);
    if (keys === undefined) return [service.registration.sender];
    return [...keys]
      .filter((key) => key.startsWith('user:'))
      .map((key) => key.slice('user:'.length))
      .filter(isUserId)
      .filter((userId) => service.hasUser(userId));
  }
}

type NestedCounts = Record<string, Record<string, Record<string, number>>>;
type NestedTypes = Record<string, Record<string, readonly string[]>>;
