import { threepidAuthFailed, threepidInUse } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import * as emailValidations from '#storage/email-validations.ts';
import * as threepids from '#storage/threepids.ts';
import type { ServerContext } from '../context.ts';
import { addAddress } from './add-address.ts';
import { proofOf } from './proof.ts';

/** Adds the address of a proof to an account; the proof is used up. Throws where that cannot be. */
export async function addProved(ctx: ServerContext, userId: UserId, credentials: JsonObject): Promise<void> {
  await ctx.db.write('threepids.add', async (tx) => {
    const proof = await proofOf(ctx, tx, { credentials, purpose: 'add' });
    if (proof === undefined || !(await emailValidations.remove(tx, proof.sid))) throw threepidAuthFailed();
    const { address, validatedTs } = proof;
    if (await addAddress(ctx, tx, userId, { address, validatedTs, addedTs: ctx.clock.now() })) return;
    if ((await threepids.ownerOf(tx, 'email', address)) !== userId) throw threepidInUse();
  });
}
