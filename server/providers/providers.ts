/** The identity providers of this server, in the order of the configuration. */

import type { Clock } from '#rooms/context.ts';
import type { OidcOption } from './oidc-option.ts';
import { OidcProvider } from './oidc-provider.ts';
import { ProviderFetch } from './provider-fetch.ts';
import { readOptionFile } from './secret.ts';

/** A button of the sign-in page, and an item of `identity_providers`. */
export interface ProviderButton {
  readonly id: string;
  readonly label: string;
  /** An `mxc://` address. */
  readonly icon?: string;
  readonly brand?: string;
}

export interface ProvidersConfig {
  readonly oidcProviders: readonly OidcOption[];
  readonly federationAllowPrivate: boolean;
}

export class Providers {
  readonly #byId: ReadonlyMap<string, OidcProvider>;

  /** @throws ConfigError where a file that a provider names cannot be read */
  static async open(config: ProvidersConfig, clock: Clock): Promise<Providers> {
    const opened = config.oidcProviders.map(async (option) => {
      const { id, issuer, hosts } = option;
      const ca =
        option.ca === undefined ? undefined : await readOptionFile(`oidc_providers: ${id}`, option.ca);
      const allowPrivate = config.federationAllowPrivate;
      return await OidcProvider.open(option, {
        fetch: new ProviderFetch({ issuer, hosts, ca, allowPrivate }),
        clock,
      });
    });
    return new Providers(await Promise.all(opened));
  }

  private constructor(providers: readonly OidcProvider[]) {
    this.#byId = new Map(providers.map((provider) => [provider.id, provider]));
  }

  /** What people can choose from. */
  list(): readonly ProviderButton[] {
    return this.all().map(({ option: { id, label, icon, brand } }) => ({
      id,
      label,
      ...(icon !== undefined && { icon }),
      ...(brand !== undefined && { brand }),
    }));
  }

  all(): readonly OidcProvider[] {
    return [...this.#byId.values()];
  }

  get(id: string): OidcProvider | undefined {
    return this.#byId.get(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.all().map((provider) => provider[Symbol.asyncDispose]()));
  }
}

/** The path that begins a sign-in by a provider and then leads to `next`, a path of this server. */
export function providerSignInUrl(id: string, next: string): string {
  return `/sign-in/provider/${encodeURIComponent(id)}?next=${encodeURIComponent(next)}`;
}

/** What must be registered at the provider. */
export function redirectUriOf(
  { config }: { readonly config: { readonly publicBaseurl: string | undefined } },
  { id }: Pick<OidcProvider, 'id'>,
): string {
  return `${config.publicBaseurl ?? ''}/sign-in/provider/${encodeURIComponent(id)}/callback`;
}
