/**
 * The layers are one straight line: keys <- storage <- rooms <- federation <- server. A file imports only from its
 * own folder and from folders to its left; `test` and `bench` import what they like, and nobody imports them.
 */

import path from 'node:path';
import type { SourceFacts } from '#test/source-facts.ts';

const LAYERS = ['keys', 'storage', 'rooms', 'federation', 'server'];
const MAY_IMPORT_ROUTES = ['server/main.ts', 'server/app.ts'];

type Imports = Pick<SourceFacts, 'file' | 'imports'>;

/** One line for each import that breaks a rule of the layers; none for a sound tree. */
export function layerProblems(files: readonly Imports[]): string[] {
  return [...files.flatMap(importProblems), ...cycles(files)];
}

function importProblems({ file, imports }: Imports): string[] {
  return imports.flatMap(({ specifier, line }) => {
    const target = targetOf(file, specifier);
    if (target === undefined) return [];
    const say = (problem: string) => `${file}:${line}: imports ${target}: ${problem}`;
    const [from, to] = [topFolder(file), topFolder(target)];
    const problems: string[] = [];
    if (specifier.startsWith('.') && from !== to) {
      problems.push(say(`a relative import leaves ${from}; write #${target}`));
    }
    if (LAYERS.includes(from) && LAYERS.indexOf(to) === -1) {
      problems.push(say(`${to} is not part of the product`));
    } else if (LAYERS.includes(from) && LAYERS.indexOf(to) > LAYERS.indexOf(from)) {
      problems.push(say(`${to} is to the right of ${from}`));
    }
    if (target.split('/').includes('routes') && !MAY_IMPORT_ROUTES.includes(file)) {
      problems.push(say(`only ${MAY_IMPORT_ROUTES.join(' and ')} import routes`));
    }
    return problems;
  });
}

/** The file that a specifier names, from the root; undefined for packages and Node's own modules. */
function targetOf(file: string, specifier: string): string | undefined {
  if (specifier.startsWith('#')) return specifier.slice(1);
  if (specifier.startsWith('.')) return path.posix.join(path.posix.dirname(file), specifier);
  return undefined;
}

function topFolder(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : '.';
}

/** Each cycle once. Type imports do not count: nothing of them is left at run time. */
function cycles(files: readonly Imports[]): string[] {
  const targets = new Map(
    files.map(({ file, imports }) => [
      file,
      imports.filter(({ typeOnly }) => !typeOnly).map(({ specifier }) => targetOf(file, specifier)),
    ]),
  );
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, trail: readonly string[]) => {
    const start = trail.indexOf(file);
    if (start !== -1) found.push(`import cycle: ${[...trail.slice(start), file].join(' -> ')}`);
    if (start !== -1 || done.has(file)) return;
    for (const target of targets.get(file) ?? []) {
      if (target !== undefined) visit(target, [...trail, file]);
    }
    done.add(file);
  };
  for (const { file } of files) visit(file, []);
  return found;
}
