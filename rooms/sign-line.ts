/** The signatures of policy servers for a line of events of our own: each by the policy server that the room uses there. */

import type { RoomsContext } from './context.ts';
import type { DraftedEvent, Line } from './draft.ts';
import { type Asked, askOf, namedPolicyOf, needsPolicy, type RoomPolicy, roomPolicyIn } from './policy.ts';
import { joinedServers } from './room.ts';

/** True where nobody has to be asked for any of the events. */
export async function needsNoSignatures(ctx: RoomsContext, line: Line): Promise<boolean> {
  return (await policiesOf(ctx, line)).every((policy) => policy === undefined);
}

/** What became of each event; all are asked for together. Not under the lock of a room that others know. */
export async function signaturesFor(ctx: RoomsContext, line: Line): Promise<Asked[]> {
  const policies = await policiesOf(ctx, line);
  return Promise.all(line.drafted.map(({ event }, index) => askOf(ctx, policies[index], event)));
}

/** Puts the signed events into the line, as far as the first that is not signed; answers which that is. */
export function putSigned(
  line: Line,
  answers: readonly Asked[],
): { readonly index: number; readonly unsigned: Exclude<Asked, { kind: 'event' }> } | undefined {
  for (const [index, drafted] of line.drafted.entries()) {
    const answer = answers[index];
    if (answer === undefined) continue;
    if (answer.kind !== 'event') return { index, unsigned: answer };
    line.drafted[index] = { ...drafted, event: answer.event };
  }
  return undefined;
}

/** The policy server for each event; undefined where it needs no signature. An event of the line may name another. */
async function policiesOf(ctx: RoomsContext, line: Line): Promise<(RoomPolicy | undefined)[]> {
  const { head, room, drafted } = line;
  const isNew = head.stateGroup === 0;
  let named = isNew ? undefined : await namedPolicyOf(ctx, head);
  if (named === undefined && drafted.every(isNoPolicy)) return [];
  // In a new room there is nobody but its creator.
  const servers = isNew ? [ctx.serverName] : await joinedServers(ctx, room.roomNid);
  return drafted.map(({ event }) => {
    if (needsPolicy(event)) return named !== undefined && servers.includes(named.server) ? named : undefined;
    named = roomPolicyIn(event.content);
    return undefined;
  });
}

function isNoPolicy({ event }: DraftedEvent): boolean {
  return needsPolicy(event);
}
