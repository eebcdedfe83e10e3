/**
 * The next transaction of a service: https://spec.matrix.org/v1.19/application-service-api/#pushing-events
 *
 * 1. Of each kind of news a page is read, all after the same position. The page that ends first ends all of them.
 * 2. What the service is not told of is left out.
 * 3. The rest becomes one text, which does not change any more.
 */

import type { UserId } from '#keys/ids.ts';
import type { Appservice } from './appservice.ts';
import type { NewsContext } from './context.ts';
import {
  type DevicePage,
  deviceListNews,
  devicePage,
  type KeyCounts,
  type Message,
  messagesFor,
  messageText,
} from './device-news.ts';
import { type EphemeralChanges, ephemeralTexts, type ReceiptPage, receiptPage } from './ephemeral-news.ts';
import { type EventNews, eventNews, eventPage, eventTexts } from './event-news.ts';
import type { Interest } from './interest.ts';

/** One who is told of news. */
export interface Listener {
  readonly service: Appservice;
  /** True for users whom another service has for itself. */
  readonly isAnothers: (userId: UserId) => boolean;
  readonly interest: Interest;
  readonly changes: EphemeralChanges | undefined;
  readonly keyCounts: KeyCounts;
}

export interface Composed {
  /** Undefined where there is nothing to tell. */
  readonly body: string | undefined;
  readonly events: number;
  /** Messages that are the service's from now on, and in no inbox any more. */
  readonly messages: readonly Message[];
  /** Up to where everything is told. */
  readonly upto: number;
}

/** What to tell a service of all that happened after a position. */
export async function compose(ctx: NewsContext, listener: Listener, after: number): Promise<Composed> {
  const { service } = listener;
  const { receivesEphemeral, receivesDevices } = service.registration;
  const range = { after, upto: ctx.streams.upto() };
  const page = await eventPage(ctx, range);
  const receipts = receivesEphemeral ? await receiptPage(ctx, range) : { receipts: [], upto: range.upto };
  const devices = receivesDevices
    ? await devicePage(ctx, range)
    : { messages: [], changed: [], upto: range.upto };
  const end = Math.min(page.upto, receipts.upto, devices.upto);
  const arrived = page.arrived.filter((arrival) => arrival.arrived <= end);
  const news = await eventNews(ctx, listener, arrived);
  const texts = await eventTexts(ctx, service, news);
  const upto = texts.upto ?? end;
  const told = news.slice(0, texts.texts.length);
  const members: string[] = [];
  if (receivesEphemeral) members.push(...(await ephemeralMembers(ctx, listener, receipts, upto)));
  const encryption = receivesDevices
    ? await deviceMembers(ctx, listener, { devices, after, upto, events: told })
    : { members: [], messages: [] };
  members.push(...encryption.members);
  const isEmpty = texts.texts.length === 0 && members.length === 0;
  const body = `{${[`"events":[${texts.texts.join(',')}]`, ...members].join(',')}}`;
  return {
    body: isEmpty ? undefined : body,
    events: texts.texts.length,
    messages: encryption.messages,
    upto,
  };
}

async function ephemeralMembers(
  ctx: NewsContext,
  listener: Listener,
  { receipts }: ReceiptPage,
  upto: number,
): Promise<string[]> {
  const texts = await ephemeralTexts(ctx, listener, {
    receipts: receipts.filter(({ position }) => position <= upto),
    changes: listener.changes?.take() ?? { rooms: new Set(), users: new Set() },
  });
  return texts.length === 0
    ? []
    : named(`[${texts.join(',')}]`, 'ephemeral', 'de.sorunome.msc2409.ephemeral');
}

async function deviceMembers(
  ctx: NewsContext,
  { service, isAnothers, interest, keyCounts }: Listener,
  given: {
    readonly devices: DevicePage;
    readonly after: number;
    readonly upto: number;
    readonly events: readonly EventNews[];
  },
): Promise<{ members: string[]; messages: readonly Message[] }> {
  const { devices, after, upto, events } = given;
  const isDue = ({ position }: { readonly position: number }) => position <= upto;
  const messages = await messagesFor(ctx, { service, isAnothers }, devices.messages.filter(isDue));
  const lists = await deviceListNews(ctx, interest, { changed: devices.changed.filter(isDue), events });
  const addressees = new Set<UserId>(messages.map(({ userId }) => userId));
  const keys = await keyCounts.news(ctx, service, { after, wanted: addressees });
  const members: string[] = [];
  if (messages.length > 0) {
    const list = `[${messages.map(messageText).join(',')}]`;
    members.push(...named(list, 'to_device', 'de.sorunome.msc2409.to_device'));
  }
  if (lists.changed.length > 0 || lists.left.length > 0) {
    members.push(...named(JSON.stringify(lists), 'device_lists', 'org.matrix.msc3202.device_lists'));
  }
  if (keys.devices > 0) {
    const [counts, fallback] = [JSON.stringify(keys.counts), JSON.stringify(keys.fallback)];
    members.push(...inBoth(counts, 'device_one_time_keys_count'));
    members.push(...inBoth(fallback, 'device_unused_fallback_key_types'));
  }
  return { members, messages };
}

function inBoth(json: string, name: string): string[] {
  return named(json, name, `org.matrix.msc3202.${name}`);
}

/** Under the name of the specification or the proposal, and under the one that bridges know it by. */
function named(json: string, ...names: readonly string[]): string[] {
  return names.map((name) => `"${name}":${json}`);
}
