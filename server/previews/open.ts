import { AddressGuard } from '#federation/network/address-guard.ts';
import { Dialer } from '#federation/network/dial.ts';
import type { Config } from '../config-options.ts';
import { configuredRoots } from '../tls/certificate.ts';
import type { PreviewsContext } from './context.ts';
import { isAllowed } from './page-address.ts';
import { Previews } from './previews.ts';

const TIMEOUT_MS = 10_000;

/** Undefined where the operator has not switched previews on. */
export async function openPreviews(
  ctx: PreviewsContext & { readonly config: Config; readonly shutdown: AbortSignal },
): Promise<Previews | undefined> {
  const { config, shutdown: stopping } = ctx;
  if (!config.urlPreviews) return undefined;
  // Not the one for other servers: those may be in the operator's own network where pages may not.
  const guard = new AddressGuard({ allowPrivate: config.urlPreviewAllowPrivate });
  const dialer = new Dialer({ guard, extraCa: await configuredRoots(config.federationCa) });
  const mayVisit = (url: URL) => isAllowed(url, config);
  return new Previews(ctx, { dialer, mayVisit, stopping, timeoutMs: TIMEOUT_MS });
}
