/** The fixtures in `disagreements/`: what an oracle and we answer otherwise, and the sentence that decides. */

import { readdirSync, readFileSync } from 'node:fs';
import type { EventId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { OracleName } from './oracle.ts';
import { type EventFacts, isFailure, type OracleRoom, type RoomAnswer } from './protocol.ts';

export interface Disagreement {
  /** What it is about, and who says what. */
  readonly title: string;
  /** The specification's, which decides; and where it is to be found. */
  readonly sentence: string;
  readonly from: string;
  readonly version: string;
  /** Each after those that it cites. The last one is in question. */
  readonly pdus: readonly JsonObject[];
  /** Absent: the event is judged by its auth events. */
  readonly state?: readonly EventId[];
  /** Absent: it is about whether the event is allowed. */
  readonly fact?: keyof EventFacts;
  /** `allowed` or `refused`, or the fact. */
  readonly ours: string;
  readonly oracles: Readonly<Record<OracleName, string>>;
}

const folder = new URL('./disagreements/', import.meta.url);

/** All of them, by name. */
export function disagreements(): ReadonlyMap<string, Disagreement> {
  const files = readdirSync(folder).sort();
  return new Map(
    files.map((file) => [
      file.replace('.json', ''),
      JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Disagreement,
    ]),
  );
}

export function roomOfDisagreement({ version, pdus, state }: Disagreement): OracleRoom {
  return { version, pdus, stateSets: state === undefined ? [] : [state] };
}

/** What an answer says of the event in question, in the words of a fixture. */
export function saidIn(answer: RoomAnswer, { fact, state }: Disagreement): string {
  const last = answer.events.at(-1);
  if (last === undefined) throw new Error('the fixture has no event');
  if ('unreadable' in last.facts) return fact === undefined ? 'refused' : 'unreadable';
  if (fact !== undefined) {
    const value = last.facts[fact];
    return isFailure(value) ? 'unreadable' : value;
  }
  const verdict = state === undefined ? (last.independent ?? last.dependent) : last.in_states[0];
  return verdict === null ? 'allowed' : 'refused';
}
