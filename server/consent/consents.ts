/** Who has accepted the policies of this server as they are now, and who is to do so first. */

import { consentNotGiven, type MatrixError } from '#federation/errors.ts';
import { isUserId, type UserId } from '#keys/ids.ts';
import * as acceptedPolicies from '#storage/accepted-policies.ts';
import type { Reader } from '#storage/database.ts';
import { Lru } from '#storage/lru.ts';
import * as noticeRooms from '#storage/notice-rooms.ts';
import { isOpenWithoutConsent, isRouteOfJoins } from '../auth/route-access.ts';
import type { Requester } from '../auth/sessions.ts';
import type { Config } from '../config-options.ts';
import type { Seal } from '../seal.ts';
import { versionsOf } from './terms.ts';

export interface ConsentsOptions {
  readonly db: Reader;
  readonly seal: Seal;
  readonly config: Pick<Config, 'terms' | 'termsEnforced' | 'termsReminder' | 'publicBaseurl'>;
}

/** A request, as far as it matters whether it is open to everybody. */
export interface AskedRoute {
  readonly method: string;
  /** The pattern. */
  readonly url: string;
  /** The room, or its alias, that the path names, if any. */
  readonly room: string | undefined;
}

export const TERMS_PATH = '/_kurir/terms';
const PURPOSE = 'terms';
const MOST_USERS = 20_000;

export class Consents {
  readonly #options: ConsentsOptions;
  /** Users who have accepted everything: that stays so while the process runs. */
  readonly #accepted = new Lru<UserId, true>({ maxEntries: MOST_USERS });
  /** Users who were looked at, whether a reminder is due. */
  readonly #seen = new Lru<UserId, true>({ maxEntries: MOST_USERS });
  #remind: ((userId: UserId) => void) | undefined;

  constructor(options: ConsentsOptions) {
    this.#options = options;
  }

  /** False where nobody is asked, nor reminded. */
  get areAsked(): boolean {
    return this.#options.config.termsEnforced || this.#remind !== undefined;
  }

  /** The policies and their versions, as one text: another one when there is something new to accept. */
  get versions(): string {
    return JSON.stringify(
      versionsOf(this.#options.config.terms).map(({ policyId, version }) => [policyId, version]),
    );
  }

  /** From now on, users who have something to accept are reminded by this. */
  start(remind: (userId: UserId) => void): void {
    if (this.#options.config.termsReminder) this.#remind = remind;
  }

  /**
   * Why somebody may not use a route yet. Those are spared who cannot read a page (application services), who have no
   * account (guests), and who must be able to mend what is wrong (administrators).
   */
  async refusalOf(requester: Requester, asked: AskedRoute): Promise<MatrixError | undefined> {
    const { termsEnforced } = this.#options.config;
    const { userId, isGuest, isAdmin, appservice } = requester;
    if (isGuest || appservice !== undefined) return undefined;
    this.#noteSeen(userId);
    if (!termsEnforced || isAdmin || isOpenWithoutConsent(asked.method, asked.url)) return undefined;
    if (!(await this.isDue(userId))) return undefined;
    if (isRouteOfJoins(asked.method, asked.url) && (await this.#isNoticeRoom(userId, asked.room)))
      return undefined;
    return consentNotGiven(this.pageFor(userId));
  }

  /** True for one who has not accepted every policy as it is now. */
  async isDue(userId: UserId): Promise<boolean> {
    if (this.#accepted.get(userId) === true) return false;
    const { db, config } = this.#options;
    const accepted = await acceptedPolicies.ofUser(db, userId);
    const isDue = versionsOf(config.terms).some(
      ({ policyId, version }) =>
        !accepted.some((one) => one.policyId === policyId && one.version === version),
    );
    if (!isDue) this.#accepted.set(userId, true);
    return isDue;
  }

  /**
   * The address of the page on which a user accepts. It is theirs without signing in, so that it can be opened in any
   * browser; whoever has it can do nothing else by it.
   */
  pageFor(userId: UserId): string {
    const { seal, config } = this.#options;
    const query = new URLSearchParams({ for: seal.seal(PURPOSE, userId) });
    return `${config.publicBaseurl ?? ''}${TERMS_PATH}?${query}`;
  }

  /** Whose page an address is; undefined for what is none of ours. */
  userOf(sealed: string): UserId | undefined {
    const userId = this.#options.seal.unseal(PURPOSE, sealed);
    return isUserId(userId) ? userId : undefined;
  }

  #noteSeen(userId: UserId): void {
    if (this.#remind === undefined || this.#seen.get(userId) === true) return;
    this.#seen.set(userId, true);
    this.#remind(userId);
  }

  /** A reminder would be of no use to one who could not read it. */
  async #isNoticeRoom(userId: UserId, room: string | undefined): Promise<boolean> {
    return room !== undefined && (await noticeRooms.of(this.#options.db, userId)) === room;
  }
}
