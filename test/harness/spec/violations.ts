/** What did not fit the specification in this process: thrown into the test that caused it, and never lost. */

import type { Misfit } from './schemas.ts';

const MOST_SHOWN = 5;
const found: string[] = [];
/** Checks that need an answer of a database first. */
const pending = new Set<Promise<void>>();

export function violation(what: string, misfits: readonly Misfit[]): void {
  if (misfits.length === 0) return;
  const lines = misfits.slice(0, MOST_SHOWN).map(({ pointer, expected, value, schemaPath }) => {
    return `  at ${pointer === '' ? '/' : pointer}: ${expected}; it is ${shown(value)} (${schemaPath})`;
  });
  const more = misfits.length > MOST_SHOWN ? [`  and ${misfits.length - MOST_SHOWN} more`] : [];
  found.push([what, ...lines, ...more].join('\n'));
}

/** A misfit that no schema found. */
export function fault(what: string, expected: string, value?: unknown, pointer = ''): void {
  violation(what, [{ pointer, expected, value, schemaPath: 'prose' }]);
}

export function checkLater(check: Promise<void>): void {
  const settled: Promise<void> = check.finally(() => pending.delete(settled));
  pending.add(settled);
}

/** Throws what has been found since the last time. */
export async function throwViolations(): Promise<void> {
  while (pending.size > 0) await Promise.all(pending);
  const taken = takeViolations();
  if (taken.length > 0) throw new Error(`not as the specification says:\n${taken.join('\n')}`);
}

/** What has been found since the last time. */
export function takeViolations(): string[] {
  return found.splice(0);
}

// What no client and no server's end has thrown fails the file.
process.once('exit', () => {
  if (found.length === 0) return;
  console.error(`not as the specification says:\n${takeViolations().join('\n')}`);
  process.exitCode = 1;
});

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 300 ? `${text.slice(0, 300)}...` : text;
}
