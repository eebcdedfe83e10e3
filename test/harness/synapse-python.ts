/** A Python with Synapse in it, for the tests that run Synapse and for those that ask its modules. */

import path from 'node:path';
import { pythonWith } from './installed.ts';

const VERSION = '1.163.2';

/**
 * The path of the Python of `KURIR_TEST_SYNAPSE_VENV`, else of a virtual environment that is made at first use.
 * Throws where neither can be had.
 */
export async function synapsePython(): Promise<string> {
  const given = process.env.KURIR_TEST_SYNAPSE_VENV;
  if (given !== undefined) return path.join(given, 'bin/python');
  const packages = [`matrix-synapse==${VERSION}`];
  const synapse = { what: 'Synapse', version: VERSION, folder: 'synapse', packages };
  return pythonWith(synapse, { imports: 'synapse.app.homeserver' });
}
