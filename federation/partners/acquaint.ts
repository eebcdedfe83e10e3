import { type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import type { FederationContext } from '../context.ts';
import { userDevices } from '../remote/keys.ts';
import { version } from '../remote/queries.ts';
import { profileOfSoftware } from './learned.ts';
import type { Participant } from './policy.ts';

export type AcquaintContext = Pick<FederationContext, 'client' | 'partners' | 'clock' | 'serverName'>;

/** Software is replaced now and then. */
const ASK_AGAIN_MS = 24 * 60 * 60_000;
const TIMEOUT_MS = 5_000;
const NOT_IMPLEMENTED = 501;

/**
 * The servers of users of other servers, each once, with what they can do. A partner whose profile nobody chose is
 * asked what it is, once a day; one that does not answer is taken for what it was last known to be. Strangers are not
 * asked: of them there is only what they show by themselves.
 */
export async function participantsOf(ctx: AcquaintContext, users: Iterable<UserId>): Promise<Participant[]> {
  const someUser = new Map<ServerName, UserId>();
  for (const userId of users) {
    const server = serverNameOf(userId);
    if (server !== undefined && server !== ctx.serverName) someUser.set(server, userId);
  }
  await Promise.all([...someUser].map(([server, userId]) => acquaint(ctx, server, userId)));
  return [...someUser.keys()].map((server) => ({ server, profile: ctx.partners.profileOf(server) }));
}

async function acquaint(ctx: AcquaintContext, server: ServerName, userId: UserId): Promise<void> {
  const { partners } = ctx;
  const partner = partners.current.of(server);
  if (partner === undefined || partner.profile !== undefined) return;
  const askedTs = partners.learnedOf(server)?.askedTs ?? 0;
  if (ctx.clock.now() - askedTs < ASK_AGAIN_MS) return;
  const answer = await version(ctx, server, { timeoutMs: TIMEOUT_MS });
  // A refusal is an answer: nothing is known of its software then.
  if (answer.kind === 'failed' && answer.reason !== 'refused') return;
  const name = answer.kind === 'ok' && answer.value.name !== '' ? answer.value.name : undefined;
  await partners.learn(server, { kind: 'software', name });
  // Rocket.Chat may say its server's name in place of the software's.
  if (profileOfSoftware(name) !== undefined) return;
  const devices = await userDevices(ctx, server, userId, { timeoutMs: TIMEOUT_MS });
  if (devices.kind === 'failed' && devices.status === NOT_IMPLEMENTED) {
    await partners.learn(server, { kind: 'has_no_devices' });
  }
}
