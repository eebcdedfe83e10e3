/**
 * Tells apps of news by their push service, without a gateway: https://www.rfc-editor.org/rfc/rfc8030, by pushers of the
 * kind `webpush`, https://github.com/matrix-org/matrix-spec-proposals/pull/4174
 */

import { isObject, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { Pusher } from '#storage/pushers.ts';
import type { Gateways, Notified } from './gateway.ts';
import type { Vapid } from './vapid.ts';
import { encryptFor, MOST_PLAINTEXT, recipientOf } from './web-push-encryption.ts';

/** How long a service keeps what it cannot hand on, in seconds: later it is no news. */
const KEPT_S = 24 * 60 * 60;
/** Most messages are made as long as this. */
const PAD_TO = 1_024;
/** "The homeserver deletes the registration if it receives a 404, 410 or 403 from the push server". */
const GONE: ReadonlySet<number> = new Set([403, 404, 410]);
const LONGEST_WAIT_MS = 60 * 60_000;
const NEEDED = ['event_id', 'room_id', 'counts', 'prio'];

export class WebPush {
  readonly #gateways: Gateways;
  readonly #vapid: Vapid;

  constructor(gateways: Gateways, vapid: Vapid) {
    this.#gateways = gateways;
    this.#vapid = vapid;
  }

  /** The key of this server, as apps hand it to their push service. */
  get publicKey(): string {
    return this.#vapid.publicKey;
  }

  /** Tells an app what a push gateway would be told. */
  notify(pusher: Pusher, notification: JsonObject, isStillWanted: () => boolean): Promise<Notified> {
    const urgency = stringAt(notification, 'prio') === 'high' ? 'high' : 'normal';
    return this.#send(pusher, { text: messageOf(notification), urgency }, isStillWanted);
  }

  /** What an app proves with that it is reached. */
  activate(pusher: Pusher, token: string): Promise<Notified> {
    const text = JSON.stringify({ app_id: pusher.appId, ack_token: token });
    return this.#send(pusher, { text, urgency: 'high' }, () => true);
  }

  async #send(
    { pushkey, data }: Pusher,
    { text, urgency }: { readonly text: string; readonly urgency: 'high' | 'normal' },
    isStillWanted: () => boolean,
  ): Promise<Notified> {
    const url = URL.parse(stringAt(data, 'url') ?? '');
    const recipient = recipientOf(pushkey, stringAt(data, 'auth') ?? '');
    if (url === null || recipient === undefined) return { kind: 'rejected' };
    const posted = await this.#gateways.post(url, {
      isStillWanted,
      headers: {
        'content-type': 'application/octet-stream',
        'content-encoding': 'aes128gcm',
        authorization: await this.#vapid.authorizationFor(url),
        ttl: String(KEPT_S),
        urgency,
      },
      body: encryptFor(recipient, Buffer.from(text), { padTo: PAD_TO }),
    });
    if (posted.kind === 'failed') return posted;
    const { status, retryAfter } = posted;
    if (status >= 200 && status < 300) return { kind: 'taken' };
    if (GONE.has(status)) return { kind: 'rejected' };
    const seconds = /^\d{1,6}$/.test(retryAfter ?? '') ? Number(retryAfter) : 0;
    return {
      ...{ kind: 'failed', reason: `it answers ${status}`, isAway: status >= 500 },
      waitMs: Math.min(LONGEST_WAIT_MS, seconds * 1_000),
    };
  }
}

/** The notification without `devices`, of which there is one; of a long one what a client needs to fetch the rest. */
function messageOf({ devices, ...notification }: JsonObject): string {
  const [device] = Array.isArray(devices) ? devices : [];
  const tweaks = isObject(device) ? own(device, 'tweaks') : undefined;
  const { content: _, ...short } = notification;
  const needed = Object.fromEntries(Object.entries(notification).filter(([name]) => NEEDED.includes(name)));
  const candidates = [{ ...notification, ...(tweaks !== undefined && { tweaks }) }, short, needed];
  const texts = candidates.map((one) => JSON.stringify(one));
  return texts.find((text) => Buffer.byteLength(text) <= MOST_PLAINTEXT) ?? '{}';
}
