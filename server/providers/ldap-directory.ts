/**
 * A directory that knows people's passwords: they are looked for by a filter, and their password is tried by a bind. It is
 * never stored.
 *
 * https://www.rfc-editor.org/rfc/rfc4513#section-5.1
 */

import { isIP } from 'node:net';
import { getCACertificates } from 'node:tls';
import type { Client, Entry, Filter } from 'ldapts';
import type { Json, JsonObject } from '#keys/json.ts';
import { isStringArray, own, stringAt } from '#keys/json.ts';
import { placesOf } from './claims.ts';
import type { LdapOption } from './ldap-option.ts';
import type { Person } from './linked-accounts.ts';
import { ProviderFault } from './provider-fault.ts';
import { readOptionFile, readSecret } from './secret.ts';

/** Who vouches, in links: there is one directory. */
export const LDAP_ISSUER = 'ldap';

const CONNECT_MS = 5_000;
const OPERATION_MS = 10_000;
const MOST_GROUPS = 1_000;
const LONGEST_NAME = 256;
/** Attributes of bytes, which are told as hexadecimal digits. */
const BYTES: ReadonlySet<string> = new Set(['objectguid', 'objectsid', 'guid']);

/** Whom to look for: by what they call themselves, or by their permanent id. */
export type Sought = { readonly name: string } | { readonly subject: string };

export class LdapDirectory {
  readonly option: LdapOption;
  readonly #bindPassword: string | undefined;
  readonly #ca: string | undefined;

  /** @throws ConfigError where a file that the option names cannot be read, or its filters are none */
  static async open(option: LdapOption): Promise<LdapDirectory> {
    const { bindPassword, ca } = option;
    const password = bindPassword === undefined ? undefined : await readSecret('ldap', bindPassword);
    return new LdapDirectory(option, {
      bindPassword: password,
      ca: ca === undefined ? undefined : await readOptionFile('ldap', ca),
    });
  }

  private constructor(
    option: LdapOption,
    { bindPassword, ca }: { readonly bindPassword: string | undefined; readonly ca: string | undefined },
  ) {
    this.option = option;
    this.#bindPassword = bindPassword;
    this.#ca = ca;
  }

  /**
   * The person, if they are there, may sign in, and the password is theirs.
   *
   * @throws ProviderFault where the directory does not answer as it should
   */
  async authenticate(sought: Sought, password: string): Promise<Person | undefined> {
    // "A name and a zero-length password" asks for nothing, and is granted to anybody (RFC 4513, 5.1.2).
    if (password === '' || password.includes('\0')) return undefined;
    if ('name' in sought && (sought.name === '' || sought.name.length > LONGEST_NAME)) return undefined;
    const { dnTemplate } = this.option;
    if (dnTemplate !== undefined && 'name' in sought) {
      const dn = dnTemplate.replaceAll('{name}', () => escapedForDn(sought.name));
      return await this.#connected(async (client) => {
        if (!(await hasBound(client, dn, password))) return undefined;
        return await this.#personAt(client, dn, { scope: 'base', filter: await this.#filter() });
      });
    }
    const found = await this.#asSearcher((client) => this.#find(client, sought));
    if (found === undefined) return undefined;
    const isRight = await this.#connected((client) => hasBound(client, found.dn, password));
    return isRight ? found.person : undefined;
  }

  /** Those of the permanent ids that are there and may sign in, with what is told of them. @throws ProviderFault */
  async peopleOf(subjects: readonly string[]): Promise<ReadonlyMap<string, JsonObject>> {
    const { OrFilter } = await import('ldapts');
    const wanted = new OrFilter({
      filters: await Promise.all(subjects.map((subject) => this.#isSubject(subject))),
    });
    const found = await this.#asSearcher(async (client) => {
      const { searchEntries } = await search(client, this.option.base, {
        filter: await this.#filter(wanted),
        attributes: this.#attributes(),
        explicitBufferAttributes: this.#byteAttributes(),
        sizeLimit: 2 * subjects.length,
      });
      return searchEntries.map((entry) => claimsOf(entry));
    });
    const people = new Map<string, JsonObject>();
    for (const claims of found) {
      const subject = this.#subjectOf(claims);
      if (subject !== undefined) people.set(subject, claims);
    }
    return people;
  }

  /** Whether the directory can be reached and searched, for the operator. @throws ProviderFault */
  async check(): Promise<number> {
    return await this.#asSearcher(async (client) => {
      const { searchEntries } = await search(client, this.option.base, {
        filter: await this.#filter(),
        attributes: [this.option.idAttribute],
        sizeLimit: 1,
      });
      return searchEntries.length;
    });
  }

  async #find(client: Client, sought: Sought): Promise<{ dn: string; person: Person } | undefined> {
    const { EqualityFilter } = await import('ldapts');
    const wanted =
      'subject' in sought
        ? await this.#isSubject(sought.subject)
        : new EqualityFilter({ attribute: this.option.nameAttribute, value: sought.name });
    return await this.#entry(client, this.option.base, { scope: 'sub', filter: await this.#filter(wanted) });
  }

  async #personAt(
    client: Client,
    dn: string,
    how: { readonly scope: 'base'; readonly filter: Filter },
  ): Promise<Person | undefined> {
    return (await this.#entry(client, dn, how))?.person;
  }

  async #entry(
    client: Client,
    base: string,
    { scope, filter }: { readonly scope: 'base' | 'sub'; readonly filter: Filter },
  ): Promise<{ dn: string; person: Person } | undefined> {
    const { searchEntries } = await search(client, base, {
      scope,
      filter,
      attributes: this.#attributes(),
      explicitBufferAttributes: this.#byteAttributes(),
      sizeLimit: 2,
    });
    const [entry, other] = searchEntries;
    // Two of a name are nobody: whose password it is cannot be told.
    if (entry === undefined || other !== undefined) return undefined;
    const claims = claimsOf(entry);
    const subject = this.#subjectOf(claims);
    if (subject === undefined) {
      throw new ProviderFault('invalid', `${entry.dn} has no ${this.option.idAttribute}`);
    }
    const groups = await this.#groupsOf(client, entry.dn, claims);
    const person = { issuer: LDAP_ISSUER, subject, sub: subject, claims: { ...claims, ...groups } };
    return { dn: entry.dn, person };
  }

  /** The groups by their names and by their entries' names, under the claim that the option says. */
  async #groupsOf(client: Client, dn: string, claims: JsonObject): Promise<JsonObject> {
    const { groupBase, groupFilter, groups } = this.option;
    if (groupBase === undefined) return namedGroups(groups, claims);
    const { Filter, FilterParser } = await import('ldapts');
    const filter = FilterParser.parseString(groupFilter.replaceAll('{dn}', () => Filter.escape(dn)));
    const { searchEntries } = await search(client, groupBase, {
      filter,
      attributes: ['cn'],
      sizeLimit: MOST_GROUPS,
    });
    const names = searchEntries.flatMap((entry) => [entry.dn, ...textsOf(entry.cn)]);
    return { [groups]: names };
  }

  async #filter(wanted?: Filter): Promise<Filter> {
    const { AndFilter, FilterParser } = await import('ldapts');
    const isPerson = FilterParser.parseString(this.option.filter);
    return wanted === undefined ? isPerson : new AndFilter({ filters: [isPerson, wanted] });
  }

  async #isSubject(subject: string): Promise<Filter> {
    const { EqualityFilter } = await import('ldapts');
    const { idAttribute: attribute } = this.option;
    const isBytes = BYTES.has(attribute.toLowerCase());
    return new EqualityFilter({ attribute, value: isBytes ? Buffer.from(subject, 'hex') : subject });
  }

  #subjectOf(claims: JsonObject): string | undefined {
    const value = attributeOf(claims, this.option.idAttribute);
    const subject = isStringArray(value) ? value[0] : value;
    return typeof subject === 'string' && subject !== '' ? subject : undefined;
  }

  /** What is asked for, and no more. */
  #attributes(): string[] {
    const { idAttribute, nameAttribute, groups, localpart, displayName, email } = this.option;
    return [
      ...new Set([idAttribute, nameAttribute, groups, ...[localpart, displayName, email].flatMap(placesOf)]),
    ];
  }

  #byteAttributes(): string[] {
    return this.#attributes().filter((name) => BYTES.has(name.toLowerCase()));
  }

  async #asSearcher<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const { bindDn } = this.option;
    return await this.#connected(async (client) => {
      if (bindDn !== undefined && !(await hasBound(client, bindDn, this.#bindPassword ?? ''))) {
        throw new ProviderFault('invalid', 'the directory refuses bind_dn and bind_password');
      }
      return await work(client);
    });
  }

  /** Works on a connection of its own, by the first address that answers. */
  async #connected<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const { Client } = await import('ldapts');
    let failure: unknown;
    for (const url of this.option.urls) {
      const isSecure = url.startsWith('ldaps:');
      const { hostname } = new URL(url);
      const tlsOptions = {
        minVersion: 'TLSv1.2' as const,
        ...(isIP(hostname) === 0 && { servername: hostname }),
        ...(this.#ca !== undefined && { ca: [...getCACertificates('default'), this.#ca] }),
      };
      const client = new Client({
        url,
        connectTimeout: CONNECT_MS,
        timeout: OPERATION_MS,
        ...(isSecure && { tlsOptions }),
      });
      try {
        // One address after the other: the later ones are for when the earlier ones fail.
        if (!isSecure && this.option.startTls) await client.startTLS({ ...tlsOptions, host: hostname });
        return await work(client);
      } catch (error) {
        failure = error;
        if (error instanceof ProviderFault && error.kind !== 'unreachable') throw error;
      } finally {
        await client.unbind().catch(() => undefined);
      }
    }
    throw faultOf(failure);
  }
}

/** True where the password is that of the entry. Throws where the directory says something else. */
async function hasBound(client: Client, dn: string, password: string): Promise<boolean> {
  const {
    InvalidCredentialsError,
    InvalidDNSyntaxError,
    NoSuchObjectError,
    InappropriateAuthError,
    UnwillingToPerformError,
  } = await import('ldapts');
  try {
    await client.bind(dn, password);
    return true;
  } catch (error) {
    const noes = [
      InvalidCredentialsError,
      InvalidDNSyntaxError,
      NoSuchObjectError,
      InappropriateAuthError,
      UnwillingToPerformError,
    ];
    if (noes.some((No) => error instanceof No)) return false;
    throw error;
  }
}

async function search(
  client: Client,
  base: string,
  options: NonNullable<Parameters<Client['search']>[1]>,
): Promise<{ readonly searchEntries: readonly Entry[] }> {
  const { NoSuchObjectError } = await import('ldapts');
  try {
    return await client.search(base, { timeLimit: OPERATION_MS / 1_000, ...options });
  } catch (error) {
    // The entry that was bound to may be hidden from itself; a base that is not there is a fault of the configuration.
    if (error instanceof NoSuchObjectError && options.scope === 'base') return { searchEntries: [] };
    throw error;
  }
}

function faultOf(error: unknown): ProviderFault {
  if (error instanceof ProviderFault) return error;
  const reason = error instanceof Error ? `${error.name}: ${error.message}` : 'the directory failed';
  return new ProviderFault('unreachable', reason, error);
}

function claimsOf(entry: Entry): JsonObject {
  const claims: Record<string, Json> = {};
  for (const [name, value] of Object.entries(entry)) {
    const texts = textsOf(value);
    if (texts.length > 0) claims[name] = texts.length === 1 ? String(texts[0]) : texts;
  }
  return claims;
}

function textsOf(value: unknown): string[] {
  const values: unknown[] = Array.isArray(value) ? value : [value];
  return values.flatMap((each) => {
    if (Buffer.isBuffer(each)) return [each.toString('hex')];
    return typeof each === 'string' && each !== '' ? [each] : [];
  });
}

/** A group's entry `cn=staff,ou=groups,...` is also called `staff`. */
function namedGroups(path: string, claims: JsonObject): JsonObject {
  const value = attributeOf(claims, path);
  const names = (isStringArray(value) ? value : [value]).filter((name) => typeof name === 'string');
  const short = names.flatMap((name) => /^cn=((?:[^,\\]|\\.)+)/i.exec(name)?.[1] ?? []);
  return { [path]: [...names, ...short.map((name) => name.replaceAll(/\\(.)/g, '$1'))] };
}

/** Attributes are called the same in any case. */
function attributeOf(claims: JsonObject, name: string): Json | undefined {
  const key = Object.keys(claims).find((each) => each.toLowerCase() === name.toLowerCase());
  return key === undefined ? stringAt(claims, name) : own(claims, key);
}

/** https://www.rfc-editor.org/rfc/rfc4514#section-2.4 */
function escapedForDn(value: string): string {
  return value
    .replaceAll(/[\\,+"<>;=#\0]/g, (letter) =>
      letter === '\0' ? '\\00' : `\\${letter.charCodeAt(0).toString(16).padStart(2, '0')}`,
    )
    .replace(/^ | $/g, '\\20');
}
