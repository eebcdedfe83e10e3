/** The rooms that the oracles are asked about: those of the property tests, and in each some events with one thing odd. */

import fc from 'fast-check';
import { parseStrict } from '#keys/canonical-json.ts';
import type { EventId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { eventFrom } from '#rooms/event.ts';
import { checkFormat } from '#rooms/format.ts';
import { contentHash } from '#rooms/hashes.ts';
import { rulesOf } from '#rooms/versions.ts';
import { type RandomRoom, randomRoom } from '#test/oracle/random-room.ts';
import { Dice } from './dice.ts';
import type { OracleRoom } from './protocol.ts';
import { spoiled } from './spoil.ts';

const STEPS = 60;
/** How many odd events there are in a room. */
const PROBES = 8;

/** Rooms of a version; the same seed gives the same ones. */
export function oracleRooms(
  version: number,
  options: { readonly seed: number; readonly count: number },
): OracleRoom[] {
  const { seed, count } = options;
  // The plan of a room does not depend on its version: other plans for each, so that more is tried.
  const plans = { seed: seed + version * 1_000_003, numRuns: count };
  const rooms = fc.sample(randomRoom({ versions: [version], steps: STEPS }), plans);
  return rooms.map((room, at) => withProbes(room, new Dice(`${version} ${seed} ${at}`)));
}

/** The odd events come last: nothing follows them, and no state has them. */
function withProbes(room: RandomRoom, dice: Dice): OracleRoom {
  const rules = rulesOf(String(room.version));
  if (rules === undefined) throw new Error(`room version ${room.version} is not known`);
  const [create, ...rest] = room.pdus;
  const pdus = new Map<EventId, JsonObject>();
  const add = (pdu: JsonObject) => {
    // Versions that are strict about numbers have no fractions, and no event that holds one.
    if (rules.strictJson && parseStrict(JSON.stringify(pdu)).kind === 'invalid') return;
    if (checkFormat(pdu, rules) !== undefined) return;
    const { eventId } = eventFrom(pdu, rules);
    if (!pdus.has(eventId)) pdus.set(eventId, pdu);
  };
  for (const pdu of [...(create === undefined ? [] : [create]), ...room.others, ...rest]) add(pdu);
  const events = [...pdus].map(([id, pdu]) => ({ id, pdu }));
  for (let probe = 0; probe < PROBES; probe += 1) {
    const { pdu } = dice.pick(events) ?? {};
    if (pdu === undefined) continue;
    const odd = spoiled(pdu, { rules, events, dice });
    // In versions 1 and 2 the sender chooses the id: that of another event is of no use.
    const named = rules.eventIds === 'chosen' ? { ...odd, event_id: `$odd-${probe}:a.example` } : odd;
    // In later ones the id follows from the hash, which covers all that is odd.
    if (odd !== pdu) add({ ...named, hashes: { sha256: contentHash(named) } });
  }
  const states = room.lines.map((heads) => room.plain.resolve(heads)).filter((state) => state !== undefined);
  return {
    version: String(room.version),
    pdus: [...pdus.values()],
    stateSets: states.map((state) => [...state.values()].map(({ id }) => id as EventId)),
  };
}
