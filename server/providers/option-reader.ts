/** Reading mappings of the configuration: every member by its kind, none that is not known. */

import { ConfigError, nearest } from '../config/config-file.ts';
import type { ValueKind } from '../config/config-types.ts';

/** What a value of the configuration is as a mapping; in the environment it is JSON. */
export function mappingOf(value: unknown): ReadonlyMap<string, unknown> | undefined {
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [String(key), item]));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return new Map(Object.entries(value));
}

/** The value itself, or what it says as JSON. */
export function fromJson(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

/** Takes the members of one mapping, each once. */
export class Members {
  readonly #where: string;
  readonly #given: ReadonlyMap<string, unknown>;
  readonly #known: string[] = [];

  /** `where` begins each complaint, such as `oidc_providers: staff`. */
  constructor(where: string, given: ReadonlyMap<string, unknown>) {
    this.#where = where;
    this.#given = given;
  }

  optional<T>(name: string, kind: ValueKind<T>): T | undefined {
    this.#known.push(name);
    const value = this.#given.get(name);
    if (value === undefined || value === null) return undefined;
    const parsed = kind.parse(value);
    if (parsed === undefined) throw this.wrong(`${name} is not ${kind.expects}`);
    return parsed;
  }

  required<T>(name: string, kind: ValueKind<T>): T {
    const value = this.optional(name, kind);
    if (value === undefined) throw this.wrong(`${name} is missing: give ${kind.expects}`);
    return value;
  }

  /** The value of `name`, or the path of a file that holds it, under `name_file`. */
  secret(name: string, kind: ValueKind<string>): Secret | undefined {
    const value = this.optional(name, kind);
    const file = this.optional(`${name}_file`, kind);
    if (value !== undefined && file !== undefined) throw this.wrong(`give ${name} or ${name}_file, not both`);
    if (value !== undefined) return { value };
    return file === undefined ? undefined : { file };
  }

  /** @throws ConfigError for a member that was not asked for */
  refuseOthers(): void {
    for (const name of this.#given.keys()) {
      if (!this.#known.includes(name))
        throw this.wrong(`unknown member ${name}${nearest(name, this.#known)}`);
    }
  }

  wrong(problem: string): ConfigError {
    return new ConfigError(`${this.#where}: ${problem}`);
  }
}

/** A secret, or where it is. */
export type Secret = { readonly value: string } | { readonly file: string };
