import type { Config } from '../config-options.ts';

/** The site for which passkeys are made: "the RP ID" and its origin. */
export interface PasskeySite {
  readonly id: string;
  readonly origin: string;
}

/** "The origin's scheme is https, or its host is localhost". Undefined where there can be no passkeys. */
export function passkeySite({
  publicBaseurl,
  secondFactor,
}: Pick<Config, 'publicBaseurl' | 'secondFactor'>): PasskeySite | undefined {
  const url = publicBaseurl === undefined || secondFactor === 'off' ? null : URL.parse(publicBaseurl);
  if (url === null || (url.protocol !== 'https:' && url.hostname !== 'localhost')) return undefined;
  // An address is no domain, which a passkey is bound to.
  if (/^[\d.]+$|^\[/.test(url.hostname)) return undefined;
  return { id: url.hostname, origin: url.origin };
}
