/**
 * Whom this server may talk to, and what it knows of them. The partners are one frozen object, which is replaced as a
 * whole when the operator changes one: whoever asks sees the newest at once, and `onChange` tells it.
 */

import type { KeyId, ServerName } from '#keys/ids.ts';
import type { Database } from '#storage/database.ts';
import * as learnedServers from '#storage/learned-servers.ts';
import { Lru } from '#storage/lru.ts';
import * as stored from '#storage/partners.ts';
import { type Fact, type Learned, learnedFrom, learnedWith } from './learned.ts';
import { DIRECTIONS, type Partner } from './partner.ts';
import { DEFAULT_PROFILE, isProfileName, PROFILES, type Profile } from './profiles.ts';

/** Whether anybody counts, or only who is a partner. */
export type Openness = 'everyone' | 'partners';

export interface PartnerSettings {
  /** Who may call us. */
  readonly inbound: Openness;
  /** Whom we call. */
  readonly outbound: Openness;
  /** Partners of the configuration file. */
  readonly configured: readonly Partner[];
}

/** A profile as it holds for one server. */
export interface ServerProfile extends Profile {
  /** The room versions that its users can be in, by all that is known. */
  readonly versions: readonly string[];
  readonly source: 'chosen' | 'learned' | 'default';
}

/** No federation has more; each is looked at by hand. */
export const MOST_PARTNERS = 5_000;
const MOST_LEARNED = 10_000;

/** All partners at one time. */
export class Partners {
  readonly inbound: Openness;
  readonly outbound: Openness;
  /** In the order of their names. */
  readonly list: readonly Partner[];
  readonly #byName: ReadonlyMap<string, Partner>;

  constructor(
    { inbound, outbound }: Pick<PartnerSettings, 'inbound' | 'outbound'>,
    list: readonly Partner[],
  ) {
    this.inbound = inbound;
    this.outbound = outbound;
    this.list = Object.freeze([...list].sort((a, b) => (a.name < b.name ? -1 : 1)));
    this.#byName = new Map(list.map((partner) => [partner.name, partner]));
    Object.freeze(this);
  }

  /** The partner of exactly this name. */
  named(name: string): Partner | undefined {
    return this.#byName.get(name);
  }

  /** The partner that a server is: by its name, else by the longest suffix that it ends in. */
  of(server: ServerName): Partner | undefined {
    const name = server.toLowerCase();
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    for (let dot = name.indexOf('.'); dot > 0; dot = name.indexOf('.', dot + 1)) {
      const suffix = this.#byName.get(`*${name.slice(dot)}`);
      if (suffix !== undefined) return suffix;
    }
    return undefined;
  }

  /** Whether we may call the server: nothing is looked up or sent where not. */
  mayCall(server: ServerName): boolean {
    return this.outbound === 'everyone' || isOpen(this.of(server), 'outbound');
  }

  /** Whether the server may call us. */
  mayCallUs(server: ServerName): boolean {
    return this.inbound === 'everyone' || isOpen(this.of(server), 'inbound');
  }
}

function isOpen(partner: Partner | undefined, direction: 'inbound' | 'outbound'): boolean {
  return partner?.direction === 'both' || partner?.direction === direction;
}

export interface PartnerChange {
  readonly before: Partners;
  readonly after: Partners;
}

interface RegistryOptions {
  readonly db: Database;
  readonly clock: { now(): number };
  readonly settings: PartnerSettings;
}

/** The partners of a server, and what was learned of other servers. */
export class PartnerRegistry {
  readonly #db: Database;
  readonly #clock: { now(): number };
  readonly #settings: PartnerSettings;
  readonly #listeners = new Set<(change: PartnerChange) => void>();
  readonly #learned: Lru<ServerName, Learned>;
  /** Dropped from memory for lack of room, and to be dropped from the database. */
  readonly #dropped = new Set<ServerName>();
  #partners: Partners;

  static async open(options: RegistryOptions): Promise<PartnerRegistry> {
    const registry = new PartnerRegistry(options);
    await registry.#reload();
    // The newest last, so that the oldest is the first to go.
    const rows = await learnedServers.newest(options.db, MOST_LEARNED);
    for (const row of rows.reverse()) registry.#learned.set(row.server, learnedFrom(row));
    return registry;
  }

  private constructor({ db, clock, settings }: RegistryOptions) {
    this.#db = db;
    this.#clock = clock;
    this.#settings = settings;
    this.#partners = new Partners(settings, settings.configured);
    this.#learned = new Lru({
      maxEntries: MOST_LEARNED,
      onEvict: (server) => this.#dropped.add(server),
    });
  }

  /** The partners as they are now. */
  get current(): Partners {
    return this.#partners;
  }

  /** Calls `listener` after each change; answers how to stop. */
  onChange(listener: (change: PartnerChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** See `Partners.mayCall`. */
  mayCall(server: ServerName): boolean {
    return this.#partners.mayCall(server);
  }

  /** See `Partners.mayCallUs`. */
  mayCallUs(server: ServerName): boolean {
    return this.#partners.mayCallUs(server);
  }

  /** The PEM certificates of the only authorities that are trusted for a server; undefined: the usual ones. */
  caOf(server: ServerName): string | undefined {
    return this.#partners.of(server)?.ca;
  }

  /** The only signing keys that are accepted of a server; undefined: those that it publishes. */
  pinnedKeysOf(server: ServerName): ReadonlyMap<KeyId, string> | undefined {
    const keys = this.#partners.of(server)?.keys;
    return keys === undefined || keys.size === 0 ? undefined : keys;
  }

  /** What a server can do: the profile that the operator chose, else the one that it gave away. */
  profileOf(server: ServerName): ServerProfile {
    const chosen = this.#partners.of(server)?.profile;
    const learned = this.#learned.get(server);
    const name = chosen ?? learned?.profile;
    const profile = name === undefined ? DEFAULT_PROFILE : PROFILES[name];
    const source = chosen !== undefined ? 'chosen' : name !== undefined ? 'learned' : 'default';
    return { ...profile, versions: versionsOf(profile, learned), source };
  }

  /** What the server gave away of itself. */
  learnedOf(server: ServerName): Learned | undefined {
    return this.#learned.get(server);
  }

  /** Takes in what a server gives away of itself. */
  async learn(server: ServerName, fact: Fact): Promise<void> {
    const before = this.#learned.get(server);
    const after = learnedWith(before, server, fact, this.#clock.now());
    if (after === before || (before === undefined && after.learnedTs === 0)) return;
    this.#learned.set(server, after);
    const dropped = [...this.#dropped];
    this.#dropped.clear();
    await this.#db.write('partners.learn', async (tx) => {
      await learnedServers.set(tx, after);
      for (const old of dropped) await learnedServers.remove(tx, old);
    });
  }

  /** Adds a partner, or replaces the one of its name. */
  async put(partner: Partner): Promise<void> {
    await this.#db.write('partners.put', (tx) => stored.set(tx, partner));
    await this.#reload();
  }

  /** Removes a partner by its name; false where there is none. */
  async remove(name: string): Promise<boolean> {
    const removed = await this.#db.write('partners.remove', (tx) => stored.remove(tx, name));
    await this.#reload();
    return removed;
  }

  async #reload(): Promise<void> {
    const rows = await stored.all(this.#db, MOST_PARTNERS);
    const configured = new Map(this.#settings.configured.map((partner) => [partner.name, partner]));
    const others = rows.filter(({ name }) => !configured.has(name)).map(partnerFrom);
    const before = this.#partners;
    this.#partners = new Partners(this.#settings, [...configured.values(), ...others]);
    for (const listener of this.#listeners) listener({ before, after: this.#partners });
  }
}

/** The room versions of a profile, by what the server itself said where that is believed, without those it refused. */
function versionsOf(profile: Profile, learned: Learned | undefined): readonly string[] {
  const said = learned?.versions?.filter((version) => profile.believedVersions.includes(version));
  const versions = said === undefined || said.length === 0 ? profile.allowedVersions : said;
  return versions.filter((version) => learned?.refused.includes(version) !== true);
}

function partnerFrom(row: stored.PartnerRow): Partner {
  const { name, keys, ca, note, profile } = row;
  const direction = DIRECTIONS.find((known) => known === row.direction) ?? 'both';
  return Object.freeze({
    ...{ name, direction, keys, ca, note },
    profile: isProfileName(profile) ? profile : undefined,
    source: 'command',
  });
}
