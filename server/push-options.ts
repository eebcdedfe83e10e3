/** The options about notifications, and notices to users. Part of the table of `config-options.ts`. */

import { flagKind, listKind, type Option, textKind } from './config-types.ts';

export interface PushConfig {
  /** Hosts of push gateways that may have private addresses. */
  readonly privatePushGateways: readonly string[];
  /** Paths of PEM files. */
  readonly pushCa: readonly string[];
  readonly legacyMentions: boolean;
  readonly serverNoticesName: string;
}

const HOST = /^[a-z0-9.:-]+$/i;

export const pushOptions: { readonly [Name in keyof PushConfig]: Option<PushConfig[Name]> } = {
  privatePushGateways: {
    key: 'private_push_gateways',
    kind: listKind('host names such as push.intranet.example.org', (text) => HOST.test(text)),
    default: [],
    describes:
      'Hosts of push gateways that may have addresses of private networks. Users name the gateway of their app; all ' +
      'others must have a public address. In the environment several are divided by commas.',
  },
  pushCa: {
    key: 'push_ca',
    kind: listKind('the path of a PEM file, or several'),
    default: [],
    describes:
      'Certificates of authorities that are trusted when notifying push gateways, besides the ones that Node trusts. ' +
      'In the environment several paths are divided by commas.',
  },
  legacyMentions: {
    key: 'legacy_mentions',
    kind: flagKind,
    default: false,
    describes:
      'Adds the push rules of before Matrix 1.17, by which a message highlights that holds a user\'s name, or "@room", ' +
      'without saying whom it mentions. For servers whose partners have old clients: people then are notified of ' +
      'messages that only happen to hold their name.',
  },
  serverNoticesName: {
    key: 'server_notices_name',
    kind: textKind('a name'),
    default: 'Server Notices',
    describes:
      'The name of the rooms in which users get notices of the administrator (`npm run kurir -- notice send`), and of ' +
      'the account `@_server`, which sends them. Rooms that are there keep their names.',
  },
};

export function pushConfig(required: <T>(option: Option<T>) => T): PushConfig {
  return {
    privatePushGateways: required(pushOptions.privatePushGateways),
    pushCa: required(pushOptions.pushCa),
    legacyMentions: required(pushOptions.legacyMentions),
    serverNoticesName: required(pushOptions.serverNoticesName),
  };
}
