/** At the end of a test its rooms are as their events make them: what `kurir room check --all --whole` says. */

import assert from 'node:assert/strict';
import { publicKeysOf } from '#keys/signing-key.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { checkRooms } from '#rooms/db-check.ts';

/** Throws what is wrong with the rooms of a database. */
export async function assertSound(ctx: RoomsContext): Promise<void> {
  const checked = { ...ctx, ownKeys: publicKeysOf(ctx.signingKey) };
  assert.deepEqual(await Array.fromAsync(checkRooms(checked, { depth: 'whole' })), []);
}
