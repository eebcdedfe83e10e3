import { oneLine } from '../fault.ts';
import type { Step } from './step.ts';

/** What an operator reads of a check. */
export interface Report {
  readonly lines: readonly string[];
  /** False where something keeps the two from talking to each other. */
  readonly isSound: boolean;
}

const WIDTH = 'this server'.length;
const MARKS = { fine: 'ok', notice: 'note', fault: 'FAULT', skipped: '-' } as const;
const MARK_WIDTH = 'FAULT'.length;

/** One line for each step, with what to do where there is something to do, and a last line that sums up. */
export function reportOf(what: string, steps: readonly Step[]): Report {
  const faults = steps.filter(({ state }) => state === 'fault').length;
  const notices = steps.filter(({ state }) => state === 'notice').length;
  const count = (number: number, word: string): string => `${number} ${word}${number === 1 ? '' : 's'}`;
  const noted = notices > 0 ? ` (${count(notices, 'note')})` : '';
  const sum =
    faults === 0 ? `${what}: nothing is wrong${noted}.` : `${what}: ${count(faults, 'fault')}${noted}.`;
  return { lines: [...steps.flatMap(linesOf), sum], isSound: faults === 0 };
}

function linesOf({ name, state, words, fault }: Step): string[] {
  // Names come from the DNS and from certificates, too.
  const line = oneLine(`${name.padEnd(WIDTH)}  ${MARKS[state].padEnd(MARK_WIDTH)}  ${words}`);
  if (fault === undefined) return [line];
  return [line, `${' '.repeat(WIDTH + MARK_WIDTH + 4)}What to do: ${fault.remedy}.`];
}
