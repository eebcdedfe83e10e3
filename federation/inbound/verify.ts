/** PDUs of other servers through the ingress check, with the keys that it needs fetched first. */

import { setImmediate } from 'node:timers/promises';
import type { EventId } from '#keys/ids.ts';
import type { KeyRequest } from '#keys/key-ring.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { checkEach, type Ingress, type VerifiedEvent } from '#rooms/ingress.ts';
import type { RoomVersionRules } from '#rooms/versions.ts';
import type { Source } from './source.ts';

export type Verdict =
  | { readonly kind: 'verified'; readonly event: VerifiedEvent; readonly redacted: boolean }
  | {
      readonly kind: 'dropped';
      readonly eventId: EventId | undefined;
      readonly reason: string;
      /** What may be verified later: nobody answered who has the keys, or there was no time to ask. */
      readonly unanswered?: Event;
    };

/** How many are in work at once: their signatures are verified on the thread pool. */
const AT_ONCE = 64;

/** Judges one PDU by its text. `signal` ends the wait for keys; without them the event is dropped. */
export async function verifyPdu(
  ctx: RoomsContext,
  rules: RoomVersionRules,
  text: string,
  signal: AbortSignal,
): Promise<Verdict> {
  const [verdict] = await verifyEach(ctx, rules, [text], signal);
  if (verdict === undefined) throw new Error('an event was not judged');
  return verdict;
}

/** Judges many PDUs, in their order. The keys that they need are fetched together, before any is given up. */
export async function verifyEach(
  ctx: RoomsContext,
  rules: RoomVersionRules,
  texts: readonly string[],
  signal: AbortSignal,
): Promise<Verdict[]> {
  const first = await checkAll(ctx, rules, texts);
  const unkeyed = first.flatMap((ingress, index) => (ingress.kind === 'missing_keys' ? [index] : []));
  if (unkeyed.length === 0) return first.map((ingress) => verdictOf(ctx, ingress, signal));
  const keys = first.flatMap((ingress) => (ingress.kind === 'missing_keys' ? ingress.keys : []));
  await ensureKeys(ctx, keys, signal);
  const again = await checkAll(
    ctx,
    rules,
    unkeyed.map((index) => texts[index] ?? ''),
  );
  const verdicts = [...first];
  for (const [at, index] of unkeyed.entries()) verdicts[index] = again[at] ?? first[index] ?? notJudged;
  return verdicts.map((ingress) => verdictOf(ctx, ingress, signal));
}

/** Those of many PDUs that pass, in their order. */
export async function verifiedOf(
  ctx: RoomsContext,
  rules: RoomVersionRules,
  texts: readonly string[],
  signal: AbortSignal,
): Promise<VerifiedEvent[]> {
  const verdicts = await verifyEach(ctx, rules, texts, signal);
  return verdicts.flatMap((verdict) => (verdict.kind === 'verified' ? [verdict.event] : []));
}

/** As `verifiedOf`, of what a source told: what lacks keys that nobody gave is noted as unanswered. */
export async function verifiedFrom(
  ctx: RoomsContext,
  rules: RoomVersionRules,
  texts: readonly string[],
  { signal, budget }: Source,
): Promise<VerifiedEvent[]> {
  const verdicts = await verifyEach(ctx, rules, texts, signal);
  return verdicts.flatMap((verdict) => {
    if (verdict.kind === 'verified') return [verdict.event];
    if (verdict.unanswered !== undefined) budget.unanswered += 1;
    return [];
  });
}

const notJudged: Ingress = { kind: 'dropped', eventId: undefined, reason: 'The event was not judged' };

/** Brings what can be had of the keys into the key ring, as long as the signal allows. */
export async function ensureKeys(
  ctx: RoomsContext,
  keys: readonly KeyRequest[],
  signal: AbortSignal,
): Promise<void> {
  const newest = new Map<string, KeyRequest>();
  for (const request of keys) {
    const id = `${request.server} ${request.keyId}`;
    const known = newest.get(id);
    if (known === undefined || known.atTs < request.atTs) newest.set(id, request);
  }
  try {
    await ctx.keyRing.ensure([...newest.values()], signal);
  } catch (error) {
    // Time is up: the keys that have come are there.
    if (!signal.aborted) throw error;
  }
}

async function checkAll(
  ctx: RoomsContext,
  rules: RoomVersionRules,
  texts: readonly string[],
): Promise<Ingress[]> {
  const checked: Ingress[] = [];
  for (let from = 0; from < texts.length; from += AT_ONCE) {
    // Portion by portion: requests get a turn in between.
    if (from > 0) await setImmediate();
    const portion = texts.slice(from, from + AT_ONCE);
    checked.push(...(await checkEach(ctx, rules, portion)));
  }
  return checked;
}

function verdictOf(ctx: RoomsContext, ingress: Ingress, signal: AbortSignal): Verdict {
  if (ingress.kind !== 'missing_keys') return ingress;
  const servers = new Set(ingress.keys.map(({ server }) => server));
  const reason = `The signing keys of ${[...servers].join(', ')} cannot be had`;
  const isUnanswered = signal.aborted || [...servers].some((server) => ctx.keyRing.isUnanswered(server));
  const dropped = { kind: 'dropped', eventId: ingress.eventId, reason } as const;
  return isUnanswered ? { ...dropped, unanswered: ingress.event } : dropped;
}
