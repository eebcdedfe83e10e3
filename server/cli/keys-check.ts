/** Whether the signing key is kept as it should be, and published as others see it. */

import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { type CheckContext, checkOurselves, type OwnFacts } from '#federation/doctor/check-server.ts';
import { ownSteps } from '#federation/doctor/diagnose-own.ts';
import { reportOf } from '#federation/doctor/report.ts';
import { faulty, fine, noticed, type Step } from '#federation/doctor/step.ts';
import { clockFault, duration, fault } from '#federation/fault.ts';
import { TimeLimit } from '#federation/network/time-limit.ts';
import { loadSigningKey, MOST_OLD_KEYS, type SigningKey, SigningKeyError } from '#keys/signing-key.ts';
import * as ledger from '#storage/delivery-ledger.ts';
import { signingKeyPath } from './keys-operations.ts';
import type { Outcome } from './operations.ts';

export interface KeysCheckContext extends CheckContext {
  readonly config: { readonly dataDir: string };
}

/** What was seen of the key of a server. */
export interface KeyFacts {
  readonly file: FileFacts;
  /** What the running server signs with. */
  readonly signingKey: SigningKey;
  readonly ours: OwnFacts;
  /** By how many milliseconds the clocks of other servers were ahead of ours when they last answered, in order. */
  readonly skews: readonly number[];
}

export interface FileFacts {
  readonly path: string;
  /** The key in the file, or why it cannot be used. */
  readonly content: SigningKey | SigningKeyError | undefined;
  /** The draft of a rotation is there. */
  readonly hasDraft: boolean;
  /** Other users of the machine may look into the folder. */
  readonly isFolderOpen: boolean;
}

const DEADLINE_MS = 60_000;
const WEEK_MS = 7 * 24 * 60 * 60_000;
const MOST_SERVERS = 1_000;
/** Of fewer clocks it cannot be said which one is wrong. */
const FEWEST_CLOCKS = 3;
const MANY_OLD_KEYS = MOST_OLD_KEYS / 2;
const OTHERS = 0o007;

/** The report of all checks. */
export async function checkKeys(ctx: KeysCheckContext, stop?: AbortSignal): Promise<Outcome> {
  using limit = new TimeLimit(DEADLINE_MS, [stop]);
  const [file, ours, skews] = await Promise.all([
    fileFacts(ctx.config.dataDir),
    checkOurselves(ctx, limit.signal),
    ledger.clockSkews(ctx.db, ctx.clock.now() - WEEK_MS, MOST_SERVERS),
  ]);
  const { lines, isSound } = reportOf(
    `the key of ${ctx.serverName}`,
    judgeKeys({ file, signingKey: ctx.signingKey, ours, skews }),
  );
  return { kind: 'done', lines, ...(!isSound && { isWrong: true }) };
}

/** What the facts say. Pure. */
export function judgeKeys({ file, signingKey, ours, skews }: KeyFacts): Step[] {
  return [
    ...fileSteps(file, signingKey),
    oldKeysStep(signingKey),
    clockStep(skews),
    ...ownSteps(ours, false),
  ];
}

async function fileFacts(dataDir: string): Promise<FileFacts> {
  const path = signingKeyPath(dataDir);
  const [content, folder] = await Promise.all([
    loadSigningKey(path).catch((error: unknown) => {
      if (error instanceof SigningKeyError) return error;
      throw error;
    }),
    stat(dataDir),
  ]);
  const isFolderOpen = process.platform !== 'win32' && (folder.mode & OTHERS) !== 0;
  return { path, content, hasDraft: existsSync(`${path}.new`), isFolderOpen };
}

function fileSteps({ path, content, hasDraft, isFolderOpen }: FileFacts, { keyPair }: SigningKey): Step[] {
  const steps: Step[] = [];
  if (content === undefined) steps.push(faulty('key file', fault('key_file', `${path} is gone`)));
  else if (content instanceof SigningKeyError)
    steps.push(faulty('key file', fault('key_file', content.message)));
  else if (content.keyPair.publicKey !== keyPair.publicKey) {
    const words = `${path} holds ${content.keyPair.keyId}, and the server signs with ${keyPair.keyId}`;
    steps.push(faulty('key file', fault('key_file_differs', words)));
  } else steps.push(fine('key file', `${path}, with ${keyPair.keyId}, closed to other users`));
  if (hasDraft)
    steps.push(noticed('key file', fault('key_draft', `${path}.new is left of a rotation that broke off`)));
  if (isFolderOpen)
    steps.push(noticed('key file', fault('folder_open', 'other users may look into the data folder')));
  return steps;
}

function oldKeysStep({ oldKeys }: SigningKey): Step {
  const words = oldKeys.length === 1 ? '1 old key' : `${oldKeys.length} old keys`;
  return oldKeys.length > MANY_OLD_KEYS
    ? noticed('old keys', fault('many_old_keys', words))
    : fine('old keys', oldKeys.length === 0 ? 'none' : words);
}

/** If most others agree on another time, the clock that is wrong is ours. */
function clockStep(skews: readonly number[]): Step {
  const median = skews[Math.floor(skews.length / 2)];
  if (median === undefined || skews.length < FEWEST_CLOCKS)
    return fine('clock', 'too few servers to compare with');
  if (clockFault(median) === undefined) return fine('clock', `as that of most of ${skews.length} servers`);
  const way = median > 0 ? 'behind' : 'ahead of';
  const words = `the clock of this machine is off by ${duration(Math.abs(median))} (${way} most of ${skews.length} servers)`;
  return faulty('clock', fault('own_clock_off', words));
}
