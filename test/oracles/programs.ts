/** The oracles that this machine can run; what is missing is built or installed at first use. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder, madeOnce } from '#test/harness/made-once.ts';
import { synapsePython } from '#test/harness/synapse-python.ts';
import type { OracleName, OracleProgram } from './oracle.ts';

const run = promisify(execFile);
const folder = import.meta.dirname;

export interface Oracles {
  readonly programs: readonly OracleProgram[];
  /** Why the others are not there, for the names of the tests that are skipped. */
  readonly missing: readonly { readonly name: OracleName; readonly reason: string }[];
}

/** With `KURIR_TEST_ORACLES=required` a missing oracle is an error. */
export async function oracles(): Promise<Oracles> {
  const found = await Promise.all([tried('ruma', rumaProgram), tried('synapse', synapseProgram)]);
  const missing = found.filter((item) => 'reason' in item);
  if (missing.length > 0 && process.env.KURIR_TEST_ORACLES === 'required') {
    throw new Error(missing.map(({ name, reason }) => `${name}: ${reason}`).join('\n'));
  }
  return { programs: found.filter((item) => 'command' in item), missing };
}

async function tried(
  name: OracleName,
  program: () => Promise<OracleProgram>,
): Promise<OracleProgram | { readonly name: OracleName; readonly reason: string }> {
  try {
    return await program();
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim() : String(error);
    return { name, reason: reason.slice(0, 2_000) };
  }
}

async function synapseProgram(): Promise<OracleProgram> {
  await has('python3', ['-c', 'import venv, ensurepip'], 'python3 with venv is not there');
  // Isolated: else the program, by its name, would hide the package of that name.
  const args = ['-I', path.join(folder, 'synapse.py')];
  return { name: 'synapse', command: await synapsePython(), args };
}

/** The program of `ruma/`, kept by the hash of its sources, so that a new clone need not build it again. */
async function rumaProgram(): Promise<OracleProgram> {
  await has('cargo', ['--version'], 'cargo is not there');
  const sources = path.join(folder, 'ruma');
  const target = cacheFolder(`ruma-${hashOf(sources)}`);
  await madeOnce(target, async () => {
    process.stderr.write('Building the oracle of Ruma for the tests: this takes a minute, once.\n');
    const manifest = path.join(sources, 'Cargo.toml');
    const args = ['build', '--quiet', '--manifest-path', manifest, '--target-dir', target];
    await run('cargo', args);
  });
  return { name: 'ruma', command: path.join(target, 'debug/kurir-oracle-ruma'), args: [] };
}

async function has(command: string, args: readonly string[], otherwise: string): Promise<void> {
  await run(command, args).catch((cause: unknown) => {
    throw new Error(otherwise, { cause });
  });
}

function hashOf(sources: string): string {
  const hash = createHash('sha256');
  for (const name of ['Cargo.toml', ...readdirSync(path.join(sources, 'src')).sort()]) {
    const file = path.join(sources, name.endsWith('.rs') ? path.join('src', name) : name);
    hash.update(name).update(readFileSync(file));
  }
  return hash.digest('hex').slice(0, 16);
}
