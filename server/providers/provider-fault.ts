/** Why an identity provider did not say who somebody is. */
export class ProviderFault extends Error {
  override readonly name = 'ProviderFault';
  /** `unreachable`: try again later; `refused`: the provider says no; `invalid`: what came is not good. */
  readonly kind: 'unreachable' | 'refused' | 'invalid';

  constructor(kind: ProviderFault['kind'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}
