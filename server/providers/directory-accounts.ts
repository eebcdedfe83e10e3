/** Signing in with the password of a directory, and ending the sessions of those who may not any more. */

import { unreachable } from '#federation/errors.ts';
import { localpartOf, type UserId } from '#keys/ids.ts';
import type { Log } from '#rooms/context.ts';
import * as providerLinks from '#storage/provider-links.ts';
import * as users from '#storage/users.ts';
import type { AccountsContext } from '../auth/accounts.ts';
import type { ServerContext } from '../context.ts';
import { refusalByGroups } from './claims.ts';
import { signOutUser } from './ended.ts';
import { LDAP_ISSUER, type LdapDirectory, type Sought } from './ldap-directory.ts';
import { accountOf, attributesOf, createLinked, noteSignIn, type Person } from './linked-accounts.ts';
import { ProviderFault } from './provider-fault.ts';

/** The directory, as what knows passwords of users. */
export class DirectoryAccounts {
  readonly #context: () => ServerContext;
  readonly #directory: LdapDirectory;

  /** `context` is asked once somebody signs in: this is part of it. */
  constructor(context: () => ServerContext, directory: LdapDirectory) {
    this.#context = context;
    this.#directory = directory;
  }

  get #ctx(): ServerContext {
    return this.#context();
  }

  /**
   * The user whose password it is: that of the account, or of the name where there is no such account yet, which is made
   * then. Throws `M_UNKNOWN` (504) where the directory does not answer.
   */
  async verify(userId: UserId, password: string): Promise<users.User | undefined> {
    const user = await users.of(this.#ctx.db, userId);
    const sought = user === undefined ? { name: localpartOf(userId) } : await this.#linkOf(userId);
    if (sought === undefined) return undefined;
    const person = await this.#authenticate(sought, password);
    return person && (await this.#userFor(person));
  }

  /** Whether a user's password is one of the directory. */
  async knows(userId: UserId): Promise<boolean> {
    return (await this.#linkOf(userId)) !== undefined;
  }

  async #linkOf(userId: UserId): Promise<Sought | undefined> {
    const links = await providerLinks.ofUser(this.#ctx.db, userId);
    const link = links.find(({ issuer }) => issuer === LDAP_ISSUER);
    return link && { subject: link.subject };
  }

  async #authenticate(sought: Sought, password: string): Promise<Person | undefined> {
    try {
      return await this.#directory.authenticate(sought, password);
    } catch (error) {
      if (!(error instanceof ProviderFault)) throw error;
      this.#ctx.log.error({ reason: error.message }, 'the directory could not be asked');
      throw unreachable('The directory of this server does not answer: try again later');
    }
  }

  async #userFor(person: Person): Promise<users.User | undefined> {
    const ctx = this.#ctx;
    const { option: mapping } = this.#directory;
    const found = await accountOf(ctx, person, mapping);
    if (found.kind === 'known') {
      await noteSignIn(ctx, found.user.userId, { person, mapping });
      return await users.of(ctx.db, found.user.userId);
    }
    if (found.kind === 'refused') {
      ctx.log.warn({ subject: person.subject, why: found.why }, 'a person of the directory may not sign in');
      return undefined;
    }
    const { localpart } = found;
    const attributes = attributesOf(person, mapping);
    const made =
      localpart === undefined
        ? undefined
        : await createLinked(ctx, person, { localpart, attributes, acceptsTerms: false });
    if (made?.kind === 'created') return await users.of(ctx.db, made.userId);
    if (made?.kind === 'linked') return await this.#userFor(person);
    ctx.log.warn(
      { subject: person.subject },
      'a person of the directory has no account, and their name is taken: see "user link"',
    );
    return undefined;
  }
}

type ChecksContext = Pick<AccountsContext, 'db' | 'streams' | 'clock' | 'sessions'> & { readonly log: Log };

const PAGE = 100;
/** Where so many are asked for and none is there, it is the directory that is wrong. */
const NOT_ALL_OF = 5;

/** Looks from time to time whether those who are signed in are still in the directory. */
export class DirectoryChecks {
  readonly #ctx: ChecksContext;
  readonly #directory: LdapDirectory;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(ctx: ChecksContext, directory: LdapDirectory) {
    this.#ctx = ctx;
    this.#directory = directory;
  }

  start(): void {
    const { checkEvery } = this.#directory.option;
    if (checkEvery > 0) this.#timer = setInterval(() => this.#begin(), checkEvery).unref();
  }

  /** Ends the sessions of who has gone, or may not sign in any more. @throws ProviderFault */
  async run(): Promise<void> {
    const gone: providerLinks.ProviderLink[] = [];
    let count = 0;
    let after: string = '';
    while (!this.#isStopped) {
      // Page by page: each begins where the one before ended.
      const links = await providerLinks.signedIn(this.#ctx.db, LDAP_ISSUER, { after, limit: PAGE });
      const last = links.at(-1);
      if (last === undefined) break;
      after = last.subject;
      count += links.length;
      gone.push(...(await this.#goneAmong(links)));
    }
    if (count >= NOT_ALL_OF && gone.length === count) {
      this.#ctx.log.error(
        { count },
        'the directory knows nobody who is signed in: nobody is signed out for that',
      );
      return;
    }
    for (const { userId } of gone) {
      // One by one: each is a transaction of its own.
      await signOutUser(this.#ctx, userId);
      this.#ctx.log.info({ user: userId }, 'a user is not in the directory any more, and is signed out');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  #begin(): void {
    this.#running ??= this.run()
      .catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        this.#ctx.log.warn({ reason }, 'the directory could not be asked who may still be signed in');
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  async #goneAmong(
    links: readonly providerLinks.ProviderLink[],
  ): Promise<readonly providerLinks.ProviderLink[]> {
    const { option } = this.#directory;
    const people = await this.#directory.peopleOf(links.map(({ subject }) => subject));
    return links.filter(({ subject }) => {
      const claims = people.get(subject);
      if (claims === undefined) return true;
      // Groups that are entries of their own are looked at when somebody signs in.
      return option.groupBase === undefined && refusalByGroups(claims, option) !== undefined;
    });
  }
}
