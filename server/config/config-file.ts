import { readFile } from 'node:fs/promises';

/** The configuration cannot be used. The message is one line for the operator. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * The options of a YAML file by their keys.
 *
 * @throws ConfigError if the file cannot be read, or is not a YAML mapping
 */
export async function readConfigFile(path: string): Promise<ReadonlyMap<string, unknown>> {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new ConfigError(`${path} cannot be read (${cause.code}): check --config or KURIR_CONFIG`, {
      cause,
    });
  });
  // Loaded here only: most servers have no file, and start faster without the parser.
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: true });
  const [problem] = document.errors;
  if (problem !== undefined) {
    throw new ConfigError(`${path} is not YAML: ${problem.message.split('\n', 1)[0]}`, { cause: problem });
  }
  const options: unknown = document.toJS({ mapAsMap: true });
  if (options === null || options === undefined) return new Map();
  if (!(options instanceof Map)) throw new ConfigError(`${path} is not a list of "option: value" lines`);
  return new Map([...options].map(([key, value]) => [String(key), value]));
}

/** `; did you mean "x"?` where one of the names is close, else how to find them. */
export function nearest(given: string, names: readonly string[]): string {
  let best: { name: string; distance: number } | undefined;
  for (const name of names) {
    const distance = editDistance(given.toLowerCase(), name.toLowerCase());
    if (best === undefined || distance < best.distance) best = { name, distance };
  }
  if (best !== undefined && best.distance <= 3) return `: did you mean ${best.name}?`;
  return ': remove it, or see docs/configuration.md for the names of all options';
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substituted = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substituted, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
