import type { Event } from './event.ts';

declare const verified: unique symbol;

/**
 * An event that may be stored: one that came in by `ingress.ts`, the one check for what others send, or that
 * `build.ts` has made and signed. Nobody else marks one.
 */
export type VerifiedEvent = Event & { readonly [verified]: true };

/** Marks an event as verified. Only for `ingress.ts` and `build.ts`, and for what is stored already. */
export function markVerified(event: Event): asserts event is VerifiedEvent {
  if (!Object.isFrozen(event)) throw new TypeError('an event that may still change cannot be verified');
}
