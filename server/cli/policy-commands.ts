import { readFile } from 'node:fs/promises';
import { PolicyRules } from '#federation/policy/rules.ts';
import { isUserId } from '#keys/ids.ts';
import { isObject, objectAt, own, stringAt } from '#keys/json.ts';
import type { Config } from '../config-options.ts';
import { openPolicyServer } from '../policy-server.ts';
import type { Outcome } from './operations.ts';

/** What the operator's rules say, and what a room needs to have this server for its policy server. */
export async function showPolicy(config: Config): Promise<Outcome> {
  const server = await openPolicyServer(config);
  if (server === undefined) {
    return { kind: 'done', lines: ['This server is no policy server: policy_server is off.'] };
  }
  const { policyRooms: rooms, policyMaxEventSize: bytes, policyMaxMentions: mentions } = config;
  const refused: [string, readonly string[]][] = [
    ['servers', config.policyRefusedServers],
    ['users', config.policyRefusedUsers],
    ['types', config.policyRefusedTypes],
    ['kinds of messages', config.policyRefusedMsgtypes],
    ['links to', config.policyRefusedLinks],
  ];
  const lines = [
    'A room uses this server where a user of this server is in it, and its state m.room.policy is:',
    JSON.stringify(server.state),
    `rooms: ${rooms.length === 0 ? 'all that name it' : rooms.join(', ')}`,
    ...refused.flatMap(([what, globs]) =>
      globs.length === 0 ? [] : [`refused ${what}: ${globs.join(', ')}`],
    ),
    ...(bytes === undefined ? [] : [`largest message: ${bytes} bytes`]),
    ...(mentions === undefined ? [] : [`most mentions: ${mentions}`]),
  ];
  return { kind: 'done', lines };
}

/** What would become of the event in a file, as clients show its source. */
export async function tryPolicy(config: Config, path: string): Promise<Outcome> {
  const json = await readFile(path, 'utf8').catch(() => undefined);
  if (json === undefined) return { kind: 'refused', problem: `${path} cannot be read` };
  const event = parsed(json);
  const type = event && stringAt(event, 'type');
  const sender = event && own(event, 'sender');
  const content = event && objectAt(event, 'content');
  if (type === undefined || !isUserId(sender) || content === undefined) {
    return { kind: 'refused', problem: `${path} is no event: it needs a type, a sender and content` };
  }
  const stateKey = event && stringAt(event, 'state_key');
  const refusal = new PolicyRules(config).refusalOf({ type, sender, stateKey, content, json });
  if (refusal === undefined) return { kind: 'done', lines: ['It would be signed.'] };
  return { kind: 'done', lines: [`It would be refused: ${refusal}.`], isWrong: true };
}

function parsed(json: string) {
  try {
    const value: unknown = JSON.parse(json);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
