/** The options of this server as a policy server. Part of the table of `config-options.ts`. */

import type { PolicyRulesConfig } from '#federation/policy/rules.ts';
import { isRoomId } from '#keys/ids.ts';
import { flagKind, integerKind, listKind, type Option, sizeKind } from './config-types.ts';

export interface PolicyConfig extends PolicyRulesConfig {
  readonly policyServer: boolean;
}

const MOST_GLOBS = 1_000;
const globs = (example: string) => {
  const kind = listKind(`globs such as ${example}, ${MOST_GLOBS} at most`, (text) => text.length <= 255);
  return { ...kind, parse: (value: unknown) => atMost(kind.parse(value as never)) };
};

function atMost(texts: readonly string[] | undefined): readonly string[] | undefined {
  return texts !== undefined && texts.length <= MOST_GLOBS ? texts : undefined;
}

const IN_THE_ENVIRONMENT = 'In the environment several are divided by commas.';

export const policyOptions: {
  readonly [Name in keyof PolicyConfig]: Option<NonNullable<PolicyConfig[Name]>>;
} = {
  policyServer: {
    key: 'policy_server',
    kind: flagKind,
    default: false,
    describes:
      'Makes this server a policy server: rooms that name it, and that one of its users is in, have every event signed by ' +
      'it before it is sent. What it refuses is said by the options that follow. `npm run kurir -- policy show` says what ' +
      'a room needs for it. See [policy servers](policy.md).',
  },
  policyRooms: {
    key: 'policy_rooms',
    kind: listKind('room ids', isRoomId),
    default: [],
    describes: `The only rooms that the policy server serves; all that name it where there are none. ${IN_THE_ENVIRONMENT}`,
  },
  policyRefusedServers: {
    key: 'policy_refused_servers',
    kind: globs('*.example.org'),
    default: [],
    describes: `Servers whose users' events are not signed. ${IN_THE_ENVIRONMENT}`,
  },
  policyRefusedUsers: {
    key: 'policy_refused_users',
    kind: globs('@spam*:*'),
    default: [],
    describes: `Users whose events are not signed; they can leave rooms all the same. ${IN_THE_ENVIRONMENT}`,
  },
  policyRefusedTypes: {
    key: 'policy_refused_types',
    kind: globs('org.example.*'),
    default: [],
    describes: `Types of events that are not signed, such as \`m.sticker\` or \`m.poll.*\`. ${IN_THE_ENVIRONMENT}`,
  },
  policyRefusedMsgtypes: {
    key: 'policy_refused_msgtypes',
    kind: globs('m.image'),
    default: [],
    describes:
      'Kinds of messages (`msgtype`) that are not signed, such as `m.image`, `m.video`, `m.audio`, `m.file`. What is in ' +
      `encrypted messages cannot be seen. ${IN_THE_ENVIRONMENT}`,
  },
  policyRefusedLinks: {
    key: 'policy_refused_links',
    kind: globs('*.example.org'),
    default: [],
    describes: `Hosts to which messages must hold no links; \`*\` is all. ${IN_THE_ENVIRONMENT}`,
  },
  policyMaxEventSize: {
    key: 'policy_max_event_size',
    kind: sizeKind,
    default: undefined,
    describes:
      'The largest message that is signed, as the whole event. Without it only the limit of Matrix holds, 64K.',
  },
  policyMaxMentions: {
    key: 'policy_max_mentions',
    kind: integerKind(0, 10_000),
    default: undefined,
    describes: 'The most users that a message may mention.',
  },
};

/** The values of these options. */
export function policyConfig(
  read: <T>(option: Option<T>) => T | undefined,
  required: <T>(option: Option<T>) => T,
): PolicyConfig {
  return {
    policyServer: required(policyOptions.policyServer),
    policyRooms: required(policyOptions.policyRooms),
    policyRefusedServers: required(policyOptions.policyRefusedServers),
    policyRefusedUsers: required(policyOptions.policyRefusedUsers),
    policyRefusedTypes: required(policyOptions.policyRefusedTypes),
    policyRefusedMsgtypes: required(policyOptions.policyRefusedMsgtypes),
    policyRefusedLinks: required(policyOptions.policyRefusedLinks),
    policyMaxEventSize: read(policyOptions.policyMaxEventSize),
    policyMaxMentions: read(policyOptions.policyMaxMentions),
  };
}
