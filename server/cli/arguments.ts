/** The words and flags of the operator's command. */

import { parseArgs } from 'node:util';
import { UsageError } from './usage.ts';

const flags = {
  help: { type: 'boolean', short: 'h' },
  config: { type: 'string' },
  password: { type: 'string' },
  'password-stdin': { type: 'boolean' },
  admin: { type: 'boolean' },
  erase: { type: 'boolean' },
  before: { type: 'string' },
  purge: { type: 'boolean' },
  'move-to': { type: 'string' },
  all: { type: 'boolean' },
  whole: { type: 'boolean' },
  direction: { type: 'string' },
  profile: { type: 'string' },
  key: { type: 'string', multiple: true },
  ca: { type: 'string' },
  note: { type: 'string' },
  none: { type: 'boolean' },
  sub: { type: 'string' },
  uses: { type: 'string' },
  expires: { type: 'string' },
  power: { type: 'string' },
  children: { type: 'boolean' },
  'no-federation': { type: 'boolean' },
  'no-public-rooms': { type: 'boolean' },
  'max-members': { type: 'string' },
} as const;

export type Arguments = ReturnType<typeof readArguments>;

/** @throws UsageError */
export function readArguments(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: flags, allowPositionals: true });
  } catch (error) {
    const [line = ''] = error instanceof Error ? error.message.split('. ', 1) : [];
    throw new UsageError(`${line}: see --help`, { cause: error });
  }
}
