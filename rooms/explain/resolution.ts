/** A state resolution made again, to say why one event lost there. */

import type { EventId } from '#keys/ids.ts';
import type { StateGroup } from '#storage/state-groups.ts';
import { checkStateDependent } from '../auth/check.ts';
import { authStateIn } from '../auth-state.ts';
import type { RoomsReader } from '../context.ts';
import { type Event, stateMapKey } from '../event.ts';
import { loadEvent, loadEvents } from '../load.ts';
import { powerOf } from '../power.ts';
import { resolveWatched, stateOfRef } from '../resolve-state.ts';
import type { Room } from '../room.ts';
import { stateOfGroup } from '../room-head.ts';
import type { ResolutionCheck } from '../state-res/auth-graph.ts';
import type { StoredEvent } from '../stored-event.ts';
import { standsUpon } from '../watch-state.ts';
import { deciding, inWords, judgedBy, refusalInWords } from './words.ts';

const STEPS: Readonly<Record<ResolutionCheck['step'], string>> = {
  1: 'the checks from the lowest depth on',
  2: 'step 2, the power events (power levels, join rules, bans and kicks), from the most powerful sender on',
  4: 'step 4, all other events, by the power levels that they rest on and then by their time',
};

/** What a resolution said of one event, checked by what it had built so far. */
interface Noted {
  readonly index: number;
  readonly step: ResolutionCheck['step'];
  readonly judged: ReturnType<typeof judgedBy>;
}

export interface Lost {
  /** What has the event's place in the resolved state. */
  readonly winner: StoredEvent | undefined;
  /** True where the state that was made does not allow the event: the power for it was taken back. */
  readonly isTakenBack: boolean;
  readonly lines: readonly string[];
}

/** Resolves the states after some events again, and says what that did to one event. */
export async function lostIn(
  ctx: RoomsReader,
  room: Room,
  heads: readonly StoredEvent[],
  { event }: StoredEvent,
): Promise<Lost> {
  const { type, stateKey = '' } = event;
  const noted = new Map<EventId, Noted>();
  let index = 0;
  const groups = new Set(heads.map(({ stateAfter }) => stateAfter).filter((group) => group !== undefined));
  const resolved = await resolveWatched(ctx, room, groups, (check) => {
    index += 1;
    const { eventId } = check.event;
    if (check.event.type !== type || check.event.stateKey !== stateKey) return;
    noted.set(eventId, { index, step: check.step, judged: judgedBy(check.event, check.state) });
  });
  const winner = (await stateOfRef(ctx, resolved, [{ type, stateKey }])).get(stateMapKey(type, stateKey));
  const lines = [
    `State resolution (version ${room.rules.stateResolution.slice(1)}) made one state of ${groups.size}:`,
    ...(await statesInWords(ctx, heads, event)),
    ...(await outcomeFor(ctx, event, winner?.event, noted)),
  ];
  const isTakenBack =
    type !== 'm.room.power_levels' &&
    checkStateDependent(event, await authStateIn(ctx, resolved, event)) !== undefined;
  return { winner, isTakenBack, lines };
}

/** What each of the states has under the event's key. */
async function statesInWords(
  ctx: RoomsReader,
  heads: readonly StoredEvent[],
  event: Event,
): Promise<string[]> {
  const { type, stateKey = '' } = event;
  const byGroup = new Map<StateGroup, StoredEvent>();
  for (const head of heads) if (head.stateAfter !== undefined) byGroup.set(head.stateAfter, head);
  const lines: string[] = [];
  for (const [group, head] of byGroup) {
    // One after the other: there are a handful.
    const found = (await stateOfGroup(ctx, group, [{ type, stateKey }])).get(stateMapKey(type, stateKey));
    const has = found === undefined ? 'nothing' : inWords(found.event);
    lines.push(`  after ${head.event.eventId}: ${has}`);
  }
  return lines;
}

async function outcomeFor(
  ctx: RoomsReader,
  event: Event,
  winner: Event | undefined,
  noted: ReadonlyMap<EventId, Noted>,
): Promise<string[]> {
  const own = noted.get(event.eventId);
  if (own === undefined)
    return [`The event was not checked there: ${await reasonUnchecked(ctx, event, winner)}`];
  const at = STEPS[own.step];
  if (own.judged !== undefined) {
    const why = refusalInWords(own.judged.refusal, event.rules);
    return [`In ${at}, the event was not allowed: ${why}`, ...deciding(own.judged.decidedBy)];
  }
  const other = winner === undefined ? undefined : noted.get(winner.eventId);
  if (winner === undefined || winner.eventId === event.eventId || other === undefined) {
    return [`In ${at}, the event was allowed; what all states agree on took its place in the end.`];
  }
  if (other.step !== own.step)
    return [`The event was allowed in ${at}; the other came after it, in ${STEPS[other.step]}.`];
  if (other.index < own.index) return [`In ${at}, the event was allowed, and came after the other.`];
  return [
    `In ${at}, both were allowed, and the later one counts: ${await whyLater(ctx, event, winner, own.step)}`,
  ];
}

/** Only events on which the states differ are checked. */
async function reasonUnchecked(ctx: RoomsReader, event: Event, winner: Event | undefined): Promise<string> {
  if (winner !== undefined && (await standsUpon(ctx, event, winner))) {
    return 'all states rest on the one that counts now, or on newer ones.';
  }
  return 'none of the states has it, or rests on it.';
}

/** Why one of two events of a step comes after the other. */
async function whyLater(
  ctx: RoomsReader,
  event: Event,
  winner: Event,
  step: ResolutionCheck['step'],
): Promise<string> {
  if (winner.authEvents.includes(event.eventId)) return 'it stands upon this one.';
  if (step === 1) return 'it has the greater depth, or the lower hash.';
  const [ours, theirs] = [await authorityOf(ctx, event), await authorityOf(ctx, winner)];
  if (step === 2 && ours.power !== theirs.power) {
    return `the power level of its sender is ${theirs.power}, and that of this one’s is ${ours.power}.`;
  }
  if (step === 4 && ours.powerLevels?.eventId !== theirs.powerLevels?.eventId) {
    return `it rests on other power levels, ${theirs.powerLevels?.eventId ?? 'none'} instead of ${ours.powerLevels?.eventId ?? 'none'}.`;
  }
  if (event.originServerTs !== winner.originServerTs) return 'its origin_server_ts is later.';
  return 'they have the same time, and its id comes later in the alphabet.';
}

/** The power levels that an event names, and what they give its sender. */
async function authorityOf(
  ctx: RoomsReader,
  event: Event,
): Promise<{ readonly powerLevels: Event | undefined; readonly power: number }> {
  const authEvents = [...(await loadEvents(ctx, event.authEvents)).values()].map((stored) => stored.event);
  const powerLevels = authEvents.find(({ type }) => type === 'm.room.power_levels');
  const implied = event.rules.roomIdIsCreateHash
    ? await loadEvent(ctx, `$${event.roomId.slice(1)}`)
    : undefined;
  const create = implied?.event ?? authEvents.find(({ type }) => type === 'm.room.create');
  return { powerLevels, power: powerOf(create, powerLevels).of(event.sender) };
}
