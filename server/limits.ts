import { isIPv6 } from 'node:net';
import { limitExceeded } from '#federation/errors.ts';
import type { Clock } from '#rooms/context.ts';
import type { Reader } from '#storage/database.ts';
import { Lru } from '#storage/lru.ts';
import * as users from '#storage/users.ts';

/** How often something may be done: `burst` at once, then `perSecond`. */
interface Rate {
  readonly perSecond: number;
  readonly burst: number;
  /** True where the limit guards the user who is its key, so that it holds for those too whom limits spare. */
  readonly isGuard?: boolean;
}

/** The limits by what is done. The comment says what the key is. */
const RATES = {
  /** Events sent by a user. */
  message: { perSecond: 5, burst: 20 },
  /** Sign-ins from an address. */
  login_address: { perSecond: 0.05, burst: 10 },
  /** Sign-ins to an account. */
  login_account: { perSecond: 0.05, burst: 10, isGuard: true },
  /** Failed sign-ins and confirmations of an account, from an address. */
  login_failed: { perSecond: 0.05, burst: 5 },
  /** Sign-ins by identity providers that come back to an address: a whole agency may have one. */
  provider_sign_in: { perSecond: 5, burst: 200 },
  /** Second factors shown for an account by those who know its password. */
  second_factor: { perSecond: 1 / 60, burst: 10, isGuard: true },
  /** Passkeys asked for by a browser, from an address. */
  passkey: { perSecond: 0.2, burst: 30 },
  /** What devices that sign in by a QR code ask from an address: they look every second. */
  rendezvous: { perSecond: 10, burst: 100 },
  /** Places where such devices meet, from an address. */
  rendezvous_creation: { perSecond: 0.1, burst: 20 },
  /** Tokens by which a user signs another device in. */
  login_token: { perSecond: 1 / 60, burst: 3 },
  /** Refreshed access tokens, from an address: a whole agency may have one. */
  refresh: { perSecond: 5, burst: 100 },
  /** Requests for tokens of OAuth from an address: devices that wait ask every few seconds. */
  oauth_token: { perSecond: 20, burst: 200 },
  /** Registrations of clients from an address: each sign-in begins with one. */
  oauth_registration: { perSecond: 1, burst: 100 },
  /** Among them, of clients that were not known. */
  oauth_new_client: { perSecond: 0.05, burst: 20 },
  /** Devices that begin to wait until they are signed in, from an address. */
  oauth_device: { perSecond: 0.2, burst: 20 },
  /** Codes of such devices that are wrong, entered by a user or from an address. */
  oauth_user_code: { perSecond: 0.01, burst: 5, isGuard: true },
  /** Clients let in by a user. */
  oauth_code: { perSecond: 0.2, burst: 20 },
  /** Accounts made from an address. */
  registration: { perSecond: 0.1, burst: 5 },
  /** Wrong tokens of directories (SCIM), from an address. */
  scim_token: { perSecond: 0.2, burst: 10 },
  /** Guesses of registration tokens and names from an address. */
  registration_check: { perSecond: 0.5, burst: 20 },
  /** Sessions of interactive authentication begun by an address that nobody is signed in from. */
  interactive_auth: { perSecond: 0.5, burst: 30 },
  /** Letters asked for by an address. */
  email_request: { perSecond: 0.05, burst: 10 },
  /** Letters to one e-mail address. */
  email_address: { perSecond: 0.003, burst: 5 },
  /** Tokens of letters that come back from an address. */
  email_confirm: { perSecond: 0.5, burst: 20 },
  /** Rooms made by a user. */
  room_creation: { perSecond: 0.1, burst: 10 },
  /** Joins by a user. */
  join: { perSecond: 0.1, burst: 10 },
  /** Invitations by a user. */
  invite: { perSecond: 0.3, burst: 10 },
  /** Invitations to a user, from all. */
  invite_user: { perSecond: 0.05, burst: 20, isGuard: true },
  /** Third-party identifiers that an address says are bound to users of ours. */
  threepid_bind: { perSecond: 0.1, burst: 10 },
  /** Identity servers asked by a user: to invite an address, to bind one, or to unbind it. */
  identity: { perSecond: 0.05, burst: 20 },
  /** Joins and leaves of a room that another server hands in: the key is the server and the room. */
  handshake: { perSecond: 1, burst: 30 },
  /** Events that a server has signed by this one as a policy server: all that happens in rooms, in bursts. */
  policy_sign: { perSecond: 100, burst: 2_000 },
  /** Changes of other people's membership, and of aliases, by a user. */
  moderation: { perSecond: 1, burst: 30 },
  /** Reads that cost much, by a user: directories, searches, remote lookups. */
  directory: { perSecond: 1, burst: 20 },
  /** Pages of history, contexts, relations, threads, and whole states and member lists, read by a user. */
  history: { perSecond: 20, burst: 200 },
  /** Syncs that begin anew, by a device: each reads all rooms. */
  initial_sync: { perSecond: 0.2, burst: 20 },
  /** Other servers asked for the sake of an address that nobody is signed in from. */
  stranger_lookup: { perSecond: 0.2, burst: 5 },
  /** Profile changes by a user: each becomes an event in every room. */
  profile: { perSecond: 0.1, burst: 10 },
  /** Profiles asked for from an address. */
  profile_query: { perSecond: 20, burst: 200 },
  /** Account data, filters and tags by a user. */
  account_data: { perSecond: 5, burst: 100 },
  /** Reports to the administrators, by a user. */
  report: { perSecond: 0.05, burst: 10 },
  /** What is done with a delayed event, by the event; and looks at them, by a user. */
  delayed_event: { perSecond: 1, burst: 30 },
  /** Delayed events that an address names and that are none. */
  delay_guess: { perSecond: 0.5, burst: 20 },
  /** Typing notices, receipts and read markers by a user. */
  ephemeral: { perSecond: 20, burst: 100 },
  /** Queries and claims of keys by a user or a device. */
  keys: { perSecond: 20, burst: 100 },
  /** Queries and claims of keys by another server: one that comes back may ask for each device by itself. */
  server_keys: { perSecond: 20, burst: 1_000 },
  /** Keys backed up and fetched by a user: many clients ask for each key by itself. */
  key_backup: { perSecond: 50, burst: 500 },
  /** Servers whose keys an address asks of us as a notary. */
  notary: { perSecond: 5, burst: 200 },
  /** Messages from device to device, by a user. */
  to_device: { perSecond: 20, burst: 100 },
  /** Media uploaded, and ids reserved, by a user. */
  media_upload: { perSecond: 10, burst: 50 },
  /** Media fetched from other servers for a user. */
  media_fetch: { perSecond: 10, burst: 300 },
  /** Encrypted files that a user has scanned for malware. */
  media_scan: { perSecond: 10, burst: 300 },
  /** Pages of the web fetched for a user, to show what is behind a link. */
  url_preview: { perSecond: 0.5, burst: 50 },
} as const satisfies Record<string, Rate>;

export type LimitKind = keyof typeof RATES;

interface Bucket {
  tokens: number;
  /** When `tokens` was right. */
  at: number;
}

const MOST_BUCKETS = 50_000;
const IPV6_GROUPS = 8;
const NETWORK_GROUPS = 4;
const MAPPED_IPV4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
/** "retry_after_ms" beyond this is of no use to a client, and overflows some clients' timers. */
const LONGEST_RETRY_MS = 3_600_000;

/** Token buckets, one for each kind and key that was used of late. In memory: a restart forgives. */
export class RateLimits {
  readonly #enabled: boolean;
  readonly #clock: Clock;
  readonly #unlimited = new Set<string>();
  /** Those for whom a service acts at this moment. */
  readonly #sparedNow = new Set<string>();
  #isSparedToo: (userId: string) => boolean = () => false;
  readonly #buckets = new Lru<string, Bucket>({ maxEntries: MOST_BUCKETS });

  /** With those users whom the limits spare. */
  static async open(
    db: Reader,
    options: { readonly enabled: boolean; readonly clock: Clock },
  ): Promise<RateLimits> {
    const limits = new RateLimits(options);
    for (const userId of await users.unlimited(db)) limits.setUnlimited(userId, true);
    return limits;
  }

  constructor(options: { readonly enabled: boolean; readonly clock: Clock }) {
    this.#enabled = options.enabled;
    this.#clock = options.clock;
  }

  /**
   * Takes one from the bucket of `key`, such as a user id or an address; throws `M_LIMIT_EXCEEDED` if it is empty. `by`:
   * who does what a limit guards the key against, if that is a user of an application service.
   */
  take(kind: LimitKind, key: string, by?: string): void {
    if (by !== undefined && this.#isService(by)) return;
    const bucket = this.#bucketOf(kind, key);
    if (bucket === undefined) return;
    if (bucket.tokens < 1) throw limitExceeded(retryAfterMs(bucket, RATES[kind]));
    bucket.tokens -= 1;
  }

  /** As `take`, but answers false in place of throwing: for pages. */
  tryTake(kind: LimitKind, key: string): boolean {
    const bucket = this.#bucketOf(kind, key);
    if (bucket === undefined) return true;
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  /** Throws as `take` would, and takes nothing: for what counts only if it fails. */
  check(kind: LimitKind, key: string): void {
    const bucket = this.#bucketOf(kind, key);
    if (bucket !== undefined && bucket.tokens < 1) throw limitExceeded(retryAfterMs(bucket, RATES[kind]));
  }

  /** True where `take` would throw. */
  isSpent(kind: LimitKind, key: string): boolean {
    return (this.#bucketOf(kind, key)?.tokens ?? 1) < 1;
  }

  /** Spares a user the limits of what they do, or no longer. */
  setUnlimited(userId: string, isUnlimited: boolean): void {
    if (isUnlimited) this.#unlimited.add(userId);
    else this.#unlimited.delete(userId);
  }

  /** Spares a user as long as the present turn of the loop lasts: an application service acts for them. */
  spareForNow(userId: string): void {
    this.#sparedNow.add(userId);
    setImmediate(() => this.#sparedNow.delete(userId));
  }

  /** Spares those too of whom `isSpared` says so. */
  spareAlso(isSpared: (userId: string) => boolean): void {
    this.#isSparedToo = isSpared;
  }

  #isService(userId: string): boolean {
    return this.#sparedNow.has(userId) || this.#isSparedToo(userId);
  }

  /** The bucket as it is now; undefined where there are no limits. */
  #bucketOf(kind: LimitKind, key: string): Bucket | undefined {
    if (!this.#enabled) return undefined;
    const { perSecond, burst, isGuard = false }: Rate = RATES[kind];
    const user = userOf(key);
    if (!isGuard && (this.#unlimited.has(user) || this.#isService(user))) return undefined;
    const now = this.#clock.now();
    const name = `${kind} ${networkOf(key)}`;
    const bucket = this.#buckets.get(name);
    if (bucket === undefined) {
      const full = { tokens: burst, at: now };
      this.#buckets.set(name, full);
      return full;
    }
    // A clock that was set back gives nothing, and takes nothing away.
    const elapsed = Math.max(0, now - bucket.at);
    bucket.tokens = Math.min(burst, bucket.tokens + (elapsed / 1000) * perSecond);
    bucket.at = now;
    return bucket;
  }
}

/** The user of a key that is one, or a user and a device. */
function userOf(key: string): string {
  const [user = ''] = key.split(' ', 1);
  return user;
}

/** Of an IPv6 address the network, of which one household has 2^64 addresses; any other key as it is. */
function networkOf(key: string): string {
  if (key.startsWith('@') || !isIPv6(key)) return key;
  const [, ipv4] = MAPPED_IPV4.exec(key) ?? [];
  if (ipv4 !== undefined) return ipv4;
  const [start = '', end] = key.split('::');
  const before = start === '' ? [] : start.split(':');
  const after = end === undefined || end === '' ? [] : end.split(':');
  const missing = end === undefined ? 0 : Math.max(0, IPV6_GROUPS - before.length - after.length);
  const groups = [...before, ...Array<string>(missing).fill('0'), ...after];
  return groups
    .slice(0, NETWORK_GROUPS)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}

function retryAfterMs({ tokens }: Bucket, { perSecond }: Rate): number {
  return Math.min(LONGEST_RETRY_MS, Math.ceil(((1 - tokens) / perSecond) * 1000));
}
