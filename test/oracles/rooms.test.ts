/**
 * Random rooms of every version, judged by the oracles and by us: event ids, hashes, redaction, the verdict on each event
 * by its auth events and in the states of the room, and the resolution of these states.
 */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { casesOf, seed } from '#test/harness/rounds.ts';
import { type Difference, differencesOf } from './compare.ts';
import { knownOf } from './known.ts';
import { Oracle, type OracleName } from './oracle.ts';
import { judgeRoom, type OurRoom } from './ours.ts';
import { oracles } from './programs.ts';
import { isFailure } from './protocol.ts';
import { oracleRooms } from './rooms.ts';

const VERSIONS = Array.from({ length: 12 }, (_, at) => at + 1);
const GRAPHS_PER_VERSION = 100;
/** Rooms that are in memory at once. */
const BATCH = 50;

interface Tally {
  graphs: number;
  /** Resolutions that are the same, of all of states that differ. */
  readonly resolved: { same: number; all: number };
  readonly known: Map<string, number>;
  readonly unexplained: string[];
}

const { programs, missing } = await oracles();
const running = programs.map((program) => new Oracle(program));
after(() => Promise.all(running.map((oracle) => oracle[Symbol.asyncDispose]())));

for (const { name, reason } of missing) {
  test(`${name} is not asked about random rooms: ${reason.replaceAll('\n', ' ')}`, { skip: true }, () => {});
}

for (const version of running.length === 0 ? [] : VERSIONS) {
  test(`v${version}: ${programs.map(({ name }) => name).join(' and ')} judge random rooms as we do`, async (t) => {
    const tallies = new Map(running.map((oracle) => [oracle, newTally()]));
    const count = casesOf({ usual: GRAPHS_PER_VERSION });
    for (let done = 0; done < count; done += BATCH) {
      const from = { seed: seed + done, count: Math.min(BATCH, count - done) };
      const rooms = oracleRooms(version, from).map(judgeRoom);
      // One batch after the other: only some rooms are in memory, and a program has one stream of answers.
      await Promise.all([...tallies].map(([oracle, tally]) => compare(oracle, rooms, tally)));
    }
    for (const [{ name }, tally] of tallies) report(t, name, tally);
  });
}

async function compare(oracle: Oracle, rooms: readonly OurRoom[], tally: Tally): Promise<void> {
  const answers = await oracle.ask(rooms.map(({ request }) => request));
  for (const [at, room] of rooms.entries()) {
    const answer = answers[at];
    if (answer === undefined) throw new Error(`${oracle.name} left out an answer`);
    const differences = differencesOf(oracle.name, room, answer);
    note(tally, room, differences);
    if (!isFailure(answer) && answer.resolved !== null && new Set(room.request.states.map(String)).size > 1) {
      tally.resolved.all += 1;
      if (!differences.some(({ what }) => what === 'resolved')) tally.resolved.same += 1;
    }
  }
}

function note(tally: Tally, room: OurRoom, differences: readonly Difference[]): void {
  tally.graphs += 1;
  for (const difference of differences) {
    const known = knownOf(difference, room);
    if (known === undefined) tally.unexplained.push(described(difference, room));
    else tally.known.set(known.name, (tally.known.get(known.name) ?? 0) + 1);
  }
}

function report(t: TestContext, name: OracleName, { graphs, resolved, known, unexplained }: Tally): void {
  const counts = [...known].map(([of, count]) => `${of} ${count}`).sort();
  t.diagnostic(
    `${name}: seed ${seed}, ${graphs} graphs, ${resolved.same} of ${resolved.all} resolutions alike, ` +
      `disagreements: ${unexplained.length} unexplained; known: ${counts.join(', ') || 'none'}`,
  );
  assert.equal(
    unexplained.length,
    0,
    `${unexplained.length} unexplained, of which the first is:\n${unexplained[0]}\nKURIR_TEST_SEED=${seed} makes the same rooms again.`,
  );
}

/** What a disagreement is about; the room itself goes into a file, since it is long. */
function described(difference: Difference, room: OurRoom): string {
  const { oracle, what, ours, theirs } = difference;
  const file = path.join(os.tmpdir(), `kurir-disagreement-${process.pid}.json`);
  if (!existsSync(file)) writeFileSync(file, JSON.stringify({ ...room.request, answer: room.answer }));
  const about = 'event' in difference ? `\n${difference.event.json}` : '';
  return `${what}: ${oracle} says ${theirs}\nwe say ${ours}${about}\nroom in ${file}`;
}

function newTally(): Tally {
  return { graphs: 0, resolved: { same: 0, all: 0 }, known: new Map(), unexplained: [] };
}
