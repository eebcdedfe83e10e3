import type { FederationContext } from '#federation/context.ts';
import type { Config } from '../config-options.ts';

/** What telling services of news needs. */
export type NewsContext = Pick<
  FederationContext,
  | 'serverName'
  | 'db'
  | 'streams'
  | 'rooms'
  | 'clock'
  | 'log'
  | 'typing'
  | 'presence'
  | 'signingKey'
  | 'keyRing'
  | 'roomLocks'
> & { readonly config: Pick<Config, 'mas'> };
