/** How push services know this server: https://www.rfc-editor.org/rfc/rfc8292 */

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { Clock } from '#rooms/context.ts';
import type { Database } from '#storage/database.ts';
import { Lru } from '#storage/lru.ts';
import * as webPushKeys from '#storage/web-push-keys.ts';
import type { SupportContact } from '../support.ts';

const HOUR_MS = 60 * 60_000;
/** "MUST NOT be more than 24 hours from the time of the request". */
const VALID_MS = 12 * HOUR_MS;
const MOST_ORIGINS = 1_000;

export class Vapid {
  /** The public key, as apps hand it to their push service. */
  readonly publicKey: string;
  readonly #privateKey: KeyObject;
  readonly #contact: string;
  readonly #clock: Clock;
  readonly #tokens = new Lru<string, { readonly token: string; readonly until: number }>({
    maxEntries: MOST_ORIGINS,
  });

  /** With the key that the database keeps, which is made where there is none. */
  static async open(db: Database, clock: Clock, contact: string): Promise<Vapid> {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const made = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const kept = await db.write('webPushKeys.keep', (tx) => webPushKeys.keep(tx, made));
    return new Vapid(createPrivateKey(kept), clock, contact);
  }

  private constructor(privateKey: KeyObject, clock: Clock, contact: string) {
    this.#privateKey = privateKey;
    this.#clock = clock;
    this.#contact = contact;
    const { x = '', y = '' } = createPublicKey(privateKey).export({ format: 'jwk' });
    const point = [Buffer.of(0x04), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')];
    this.publicKey = Buffer.concat(point).toString('base64url');
  }

  /** The header `authorization` of a request to a push service. */
  async authorizationFor({ origin }: URL): Promise<string> {
    const now = this.#clock.now();
    let known = this.#tokens.get(origin);
    if (known === undefined || known.until < now + HOUR_MS || known.until > now + VALID_MS) {
      known = { token: await this.#sign(origin, now + VALID_MS), until: now + VALID_MS };
      this.#tokens.set(origin, known);
    }
    return `vapid t=${known.token}, k=${this.publicKey}`;
  }

  async #sign(origin: string, until: number): Promise<string> {
    const { SignJWT } = await import('jose');
    return new SignJWT()
      .setProtectedHeader({ typ: 'JWT', alg: 'ES256' })
      .setAudience(origin)
      .setExpirationTime(Math.floor(until / 1_000))
      .setSubject(this.#contact)
      .sign(this.#privateKey);
  }
}

/** "A contact URI for the application server operator": of whom the operator names, else the address of the server. */
export function vapidContact({
  supportContacts,
  publicBaseurl,
  serverName,
}: {
  readonly supportContacts: readonly SupportContact[];
  readonly publicBaseurl: string | undefined;
  readonly serverName: string;
}): string {
  const address = supportContacts.find(({ emailAddress }) => emailAddress !== undefined)?.emailAddress;
  if (address !== undefined) return `mailto:${address}`;
  return publicBaseurl?.startsWith('https:') === true ? publicBaseurl : `https://${serverName}`;
}
