import type { Fault } from '../fault.ts';

/** One thing that was looked at, and what it says. */
export interface Step {
  readonly name: StepName;
  /** `notice`: works, and somebody should know. `skipped`: could not be looked at, or need not. */
  readonly state: 'fine' | 'notice' | 'fault' | 'skipped';
  readonly words: string;
  /** Of a notice or a fault. */
  readonly fault?: Fault;
}

/** In the order in which they are looked at. */
export type StepName =
  | 'name'
  | 'well-known'
  | 'DNS SRV'
  | 'addresses'
  | 'connection'
  | 'certificate'
  | 'key'
  | 'clock'
  | 'version'
  | 'signature'
  | 'delivery'
  | 'rooms'
  | 'calls us'
  | 'key file'
  | 'old keys'
  | 'this server';

/** A step that is as it should be. */
export function fine(name: StepName, words: string): Step {
  return { name, state: 'fine', words };
}

/** A step that was not made; `words` say why. */
export function skipped(name: StepName, words: string): Step {
  return { name, state: 'skipped', words };
}

/** A step that found a fault. */
export function faulty(name: StepName, fault: Fault): Step {
  return { name, state: 'fault', words: fault.words, fault };
}

/** A step that found what does not keep servers from talking to each other. */
export function noticed(name: StepName, fault: Fault): Step {
  return { name, state: 'notice', words: fault.words, fault };
}
