/**
 * What other servers tell beside events: https://spec.matrix.org/v1.19/server-server-api/#edus
 *
 * Only of their own users, only where these take part; anything else is passed over without a word.
 *
 * 1. Each is read, in order. What is only in memory is done with that.
 * 2. What they leave on disk is one write, so that nobody waits for more: in order too, as of two that say different things
 *    the later counts.
 * 3. Where that fails, each is written alone. What cannot be written is left out: a server that sends it would send it
 *    again for ever, and all that comes after it would wait. Not so where the database is at fault: a full disk is no
 *    reason to lose anything.
 */

import type { ServerName } from '#keys/ids.ts';
import { isObject, type Json, objectAt, stringAt } from '#keys/json.ts';
import { isDatabaseFault } from '#storage/database.ts';
import { receiveDeviceListUpdate } from './device-lists.ts';
import type { EduContext, EduWrite, ReceiveEdu } from './edu-source.ts';
import { receivePresence } from './presence.ts';
import { receiveReceipts } from './receipts.ts';
import { receiveSigningKeyUpdate } from './signing-keys.ts';
import { receiveToDevice } from './to-device.ts';
import { receiveTyping } from './typing.ts';

/** EDUs of other types are not for us. */
const receivers: ReadonlyMap<string, ReceiveEdu> = new Map<string, ReceiveEdu>([
  ['m.direct_to_device', receiveToDevice],
  ['m.presence', receivePresence],
  ['m.device_list_update', receiveDeviceListUpdate],
  ['m.receipt', receiveReceipts],
  ['m.signing_key_update', receiveSigningKeyUpdate],
  ['m.typing', receiveTyping],
]);

/** What holds only the newest state: whether it comes once or twice makes no difference. */
const MOMENTARY: ReadonlySet<string> = new Set(['m.presence', 'm.receipt', 'm.typing']);

/** Rows in one write, about: it holds the main thread for some 10 ms. */
const ROWS_AT_ONCE = 500;

/** True for what a transaction need not be remembered for. */
export function isMomentary(edu: Json): boolean {
  return isObject(edu) && MOMENTARY.has(stringAt(edu, 'edu_type') ?? '');
}

/** Reads the EDUs of one transaction, in order, and answers what is to be written for them. */
export async function readEdus(
  ctx: EduContext,
  origin: ServerName,
  edus: readonly Json[],
): Promise<EduWrite[]> {
  const writes: EduWrite[] = [];
  const failures: unknown[] = [];
  for (const edu of edus) {
    const content = isObject(edu) ? objectAt(edu, 'content') : undefined;
    if (!isObject(edu) || content === undefined) continue;
    const receive = receivers.get(stringAt(edu, 'edu_type') ?? '');
    try {
      // In order: of two that say different things the later counts.
      const write = await receive?.(ctx, origin, content);
      if (write !== undefined) writes.push(write);
    } catch (error) {
      if (isDatabaseFault(error)) throw error;
      failures.push(error);
    }
  }
  tellOf(ctx, origin, failures);
  return writes;
}

/**
 * Writes what EDUs leave, and `last` together with the last of it. The first write, mostly the only one, is queued before
 * this returns: whatever the caller writes next does not come before it. Rejects where the database is at fault.
 */
export async function writeEdus(
  ctx: EduContext,
  origin: ServerName,
  writes: readonly EduWrite[],
  last?: EduWrite['write'],
): Promise<void> {
  const portions = portionsOf(writes);
  const rest = portions.pop() ?? [];
  // Portion by portion: others get their turn in between.
  for (const portion of portions) await writePortion(ctx, origin, portion);
  await writePortion(ctx, origin, rest, last);
}

async function writePortion(
  ctx: EduContext,
  origin: ServerName,
  portion: readonly EduWrite[],
  last?: EduWrite['write'],
): Promise<void> {
  if (portion.length === 0 && last === undefined) return;
  try {
    await ctx.db.write('federation.edus', async (tx) => {
      for (const { write } of portion) await write(tx);
      await last?.(tx);
    });
    return;
  } catch (error) {
    if (isDatabaseFault(error)) throw error;
  }
  const alone = await Promise.allSettled(portion.map(({ write }) => ctx.db.write('federation.edu', write)));
  const failures = alone.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
  for (const failure of failures) if (isDatabaseFault(failure)) throw failure;
  tellOf(ctx, origin, failures);
  // Not before it is known that the others are on disk.
  if (last !== undefined) await ctx.db.write('federation.edus', last);
}

function portionsOf(writes: readonly EduWrite[]): EduWrite[][] {
  const portions: EduWrite[][] = [];
  let rows = 0;
  for (const write of writes) {
    const portion = portions.at(-1);
    if (portion === undefined || rows + write.rows > ROWS_AT_ONCE) {
      portions.push([write]);
      rows = write.rows;
    } else {
      portion.push(write);
      rows += write.rows;
    }
  }
  return portions;
}

/** One line for many: they are of one server, and mostly of one kind. */
function tellOf({ log }: EduContext, origin: ServerName, failures: readonly unknown[]): void {
  const [err] = failures;
  if (err !== undefined) log.error({ err, origin, count: failures.length }, 'EDUs could not be taken in');
}
