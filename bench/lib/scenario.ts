/** What every scenario is and answers; `bench/run.ts` finds it by name. */

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ServerKind } from '#bench/servers/server.ts';

export interface Scenario {
  readonly name: string;
  /** One line for the list of scenarios. */
  readonly about: string;
  /** Runs against one server and prints lines for people as it goes. */
  run(kind: ServerKind, options: ScenarioOptions): Promise<Figures>;
  /** The figures whose ratio between two servers means something; none: only Kurir can be measured. */
  readonly ratios: readonly string[];
  /** What figures are to be held. */
  readonly limits?: Readonly<Record<string, Limit>>;
}

export interface ScenarioOptions {
  readonly seconds: number;
  /** How many members, events or the like, where the scenario lets that be chosen. */
  readonly size?: number | undefined;
}

export type Limit = { readonly atMost: number } | { readonly atLeast: number };

export type Figures = Readonly<Record<string, number | null>>;

/** A temporary folder that goes away with its scope. */
export function temporaryFolder(): { readonly path: string } & Disposable {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kurir-bench-'));
  return { path: folder, [Symbol.dispose]: () => fs.rmSync(folder, { recursive: true, force: true }) };
}
