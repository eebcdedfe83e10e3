import { newPartner, type Partner } from '#federation/partners/partner.ts';

/** A partner as the operator's command makes it, with what the test says of it. */
export function partner(name: string, terms: Partial<Partner> = {}): Partner {
  return { ...newPartner(name), ...terms };
}
