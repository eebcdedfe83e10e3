import type { Partner } from '#federation/partners/partner.ts';

/** A partner as the operator's command makes it, with what the test says of it. */
export function partner(name: string, terms: Partial<Partner> = {}): Partner {
  return {
    name,
    direction: 'both',
    profile: undefined,
    keys: new Map(),
    ca: undefined,
    note: '',
    source: 'command',
    ...terms,
  };
}
