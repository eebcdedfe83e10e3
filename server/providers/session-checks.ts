/** Asking identity providers from time to time whether those who signed in by them still may. */

import type { Log } from '#rooms/context.ts';
import * as providerLinks from '#storage/provider-links.ts';
import type { ProviderToken } from '#storage/provider-tokens.ts';
import * as providerTokens from '#storage/provider-tokens.ts';
import type { AccountsContext } from '../auth/accounts.ts';
import type { Seal } from '../seal.ts';
import { signOutUser } from './ended.ts';
import type { OidcProvider } from './oidc-provider.ts';
import type { Providers } from './providers.ts';

export type ChecksContext = Pick<AccountsContext, 'db' | 'streams' | 'clock' | 'sessions'> & {
  readonly log: Log;
  readonly seal: Seal;
  readonly providers: Providers;
};

const LOOK_EVERY_MS = 5_000;
const AT_ONCE = 4;
const MOST_AT_A_TIME = 200;

/** The checks of all providers that have `check_every`. */
export class SessionChecks {
  readonly #ctx: ChecksContext;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #isBusy = false;
  #isStopped = false;

  constructor(ctx: ChecksContext) {
    this.#ctx = ctx;
  }

  start(): void {
    if (this.#ctx.providers.all().every(({ option }) => option.checkEvery === undefined)) return;
    this.#timer = setInterval(() => this.#begin(), LOOK_EVERY_MS).unref();
  }

  /** Checks what is due now. */
  async run(): Promise<void> {
    for (const provider of this.#ctx.providers.all()) {
      // One provider after the other: each is asked by a few at once.
      await this.#checkProvider(provider);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  #begin(): void {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#running = this.run()
      .catch((error: unknown) =>
        this.#ctx.log.error({ err: error }, 'sessions of providers were not checked'),
      )
      .finally(() => {
        this.#isBusy = false;
      });
  }

  async #checkProvider(provider: OidcProvider): Promise<void> {
    const { checkEvery } = provider.option;
    if (checkEvery === undefined) return;
    const before = this.#ctx.clock.now() - checkEvery;
    const due = await providerTokens.due(this.#ctx.db, provider.id, { before, limit: MOST_AT_A_TIME });
    const left = [...due];
    const work = async (): Promise<void> => {
      for (let token = left.shift(); token !== undefined && !this.#isStopped; token = left.shift()) {
        // The next one when this is answered: a provider is not asked more at once.
        await checkOne(this.#ctx, provider, token);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }
}

async function checkOne(ctx: ChecksContext, provider: OidcProvider, token: ProviderToken): Promise<void> {
  const { subject } = token;
  const purpose = `refresh token ${provider.id} ${subject}`;
  const refreshToken = ctx.seal.unseal(purpose, token.sealedToken);
  // Sealed by a key that is lost: nothing can be asked until they sign in again.
  const answer = refreshToken === undefined ? undefined : await provider.refresh(refreshToken);
  if (answer?.kind === 'ended') {
    const link = await providerLinks.of(ctx.db, provider.option.issuer, subject);
    if (link !== undefined) await signOutUser(ctx, link.userId, { provider: provider.id, subject });
    ctx.log.info(
      { provider: provider.id, user: link?.userId },
      'the provider has ended the session of a user',
    );
  }
  await ctx.db.write('providers.checked', async (tx) => {
    if (answer === undefined || answer.kind === 'ended') {
      await providerTokens.remove(tx, provider.id, subject);
      return;
    }
    const sealedToken =
      answer.kind === 'alive' ? ctx.seal.seal(purpose, answer.refreshToken) : token.sealedToken;
    await providerTokens.replace(tx, token, { sealedToken, now: ctx.clock.now() });
  });
  if (answer?.kind === 'unknown') {
    ctx.log.warn({ provider: provider.id, reason: answer.why }, 'a session could not be checked');
  }
}
