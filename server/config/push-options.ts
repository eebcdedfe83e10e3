/** The options about notifications, and notices to users. Part of the table of `config-options.ts`. */

import {
  choiceKind,
  durationKind,
  flagKind,
  listKind,
  type Option,
  textKind,
  type ValueKind,
} from './config-types.ts';

export interface PushConfig {
  /** Hosts of push gateways that may have private addresses. */
  readonly privatePushGateways: readonly string[];
  /** Paths of PEM files. */
  readonly pushCa: readonly string[];
  readonly webPush: boolean;
  readonly emailNotifications: (typeof emailNotifications)[number];
  readonly emailNotificationDelay: number;
  readonly emailNotificationText: boolean;
  readonly emailRoomLink: string;
  readonly legacyMentions: boolean;
  readonly pushAllEncrypted: boolean;
  readonly followedThreads: boolean;
  readonly serverNoticesName: string;
}

const emailNotifications = ['off', 'asked', 'all'] as const;
const ROOM = '{room}';
const MINUTE_MS = 60_000;

/** Where a letter leads to a room. */
const roomLinkKind: ValueKind<string> = {
  expects: `an https address with ${ROOM} in it, such as https://chat.example.org/#/room/${ROOM}`,
  parse: (value) => {
    if (typeof value !== 'string' || !value.startsWith('https://') || !value.includes(ROOM)) return undefined;
    const url = URL.parse(value);
    return url === null || url.host.includes('%') || url.username !== '' ? undefined : value;
  },
  format: (value) => value,
};

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
  webPush: {
    key: 'web_push',
    kind: flagKind,
    default: false,
    describes:
      'Lets apps be told of news by their push service alone (Web Push, as browsers and UnifiedPush have it), without ' +
      'a gateway, encrypted for the app: pushers of the kind `webpush`, and the capability `m.webpush`. By the proposal ' +
      'MSC4174, which may still change.',
  },
  emailNotifications: {
    key: 'email_notifications',
    kind: choiceKind(emailNotifications),
    default: 'asked',
    describes:
      'Who gets letters about unread messages, where there is an `smtp_server`: nobody (`off`), those who ask for them ' +
      'in their client (`asked`), or also everybody at each e-mail address that is added to their account (`all`), ' +
      'until they unsubscribe.',
  },
  emailNotificationDelay: {
    key: 'email_notification_delay',
    kind: durationKind,
    default: 10 * MINUTE_MS,
    describes:
      'How long a message stays unread before a letter is sent about it, and what else has come by then. After each ' +
      'letter that the user does not react to, the next one waits longer, up to a day.',
  },
  emailNotificationText: {
    key: 'email_notification_text',
    kind: flagKind,
    default: true,
    describes:
      'Whether these letters say who has written what, as far as it is not encrypted. Without it they name the rooms ' +
      'and how many messages are unread there.',
  },
  emailRoomLink: {
    key: 'email_room_link',
    kind: roomLinkKind,
    default: `https://matrix.to/#/${ROOM}`,
    describes:
      `Where these letters lead to a room, with ${ROOM} in the place of its id: a client of your own, such as ` +
      `https://chat.example.org/#/room/${ROOM}.`,
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
  pushAllEncrypted: {
    key: 'push_all_encrypted',
    kind: flagKind,
    default: false,
    describes:
      'Adds the push rule of MSC4028, by which apps are woken for every encrypted message, also in rooms of which ' +
      'their user wants to see mentions alone: the app decrypts it and sees whether it is one. For servers whose ' +
      'users have apps that know this rule, such as Element X: all others show too many notifications.',
  },
  followedThreads: {
    key: 'followed_threads',
    kind: flagKind,
    default: false,
    describes:
      'Enables for all users the push rules of MSC4306, which are there but disabled else: of threads that a user does ' +
      'not follow only mentions notify, of those that they follow everything. For servers whose users all have apps ' +
      'that follow threads.',
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
    webPush: required(pushOptions.webPush),
    emailNotifications: required(pushOptions.emailNotifications),
    emailNotificationDelay: required(pushOptions.emailNotificationDelay),
    emailNotificationText: required(pushOptions.emailNotificationText),
    emailRoomLink: required(pushOptions.emailRoomLink),
    legacyMentions: required(pushOptions.legacyMentions),
    pushAllEncrypted: required(pushOptions.pushAllEncrypted),
    followedThreads: required(pushOptions.followedThreads),
    serverNoticesName: required(pushOptions.serverNoticesName),
  };
}
