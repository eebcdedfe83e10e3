/** The limits of the style guide that a program can check. The product's files keep all; tests only their names. */

import type { SourceFacts } from '#test/source-facts.ts';

const PRODUCT = ['keys/', 'storage/', 'rooms/', 'federation/', 'server/'];
const MAX_FILE_LINES = 400;
const MAX_FUNCTION_LINES = 80;
const MAX_PARAMETERS = 4;
const KEBAB_CASE = /^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.d)?\.ts$/;

/** One line for each breach. */
export function styleProblems(files: readonly SourceFacts[]): string[] {
  return files.flatMap((facts) => [...nameProblems(facts), ...productProblems(facts)]);
}

function nameProblems({ file }: SourceFacts): string[] {
  const name = file.slice(file.lastIndexOf('/') + 1);
  return KEBAB_CASE.test(name) ? [] : [`${file}: file names are kebab-case`];
}

function productProblems({ file, lines, functions, constructs }: SourceFacts): string[] {
  if (!PRODUCT.some((folder) => file.startsWith(folder))) return [];
  const problems: string[] = [];
  if (lines > MAX_FILE_LINES) problems.push(`${file}: ${lines} lines, more than ${MAX_FILE_LINES}`);
  for (const { name, line, lines: length, parameters } of functions) {
    const place = `${file}:${line}: function ${name}`;
    if (length > MAX_FUNCTION_LINES)
      problems.push(`${place} has ${length} lines, more than ${MAX_FUNCTION_LINES}`);
    if (parameters > MAX_PARAMETERS) {
      problems.push(`${place} has ${parameters} parameters, more than ${MAX_PARAMETERS}`);
    }
  }
  for (const { what, line } of constructs) problems.push(`${file}:${line}: ${what} is not used here`);
  return problems;
}
