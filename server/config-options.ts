/**
 * Every option of the server, in one table: from it come the YAML file's keys, the environment's names
 * (`KURIR_` and the key in capitals), the checks and the reference page docs/configuration.md.
 */

import { isServerName, type ServerName } from '#keys/ids.ts';
import { DEFAULT_ROOM_VERSION, SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { type PresenceMode, presenceModes } from '#storage/presences.ts';
import { type AccountConfig, accountOptions } from './config/account-options.ts';
import { type AppservicesConfig, appserviceOptions } from './config/appservice-options.ts';
import {
  baseUrlKind,
  choiceKind,
  durationOrOffKind,
  flagKind,
  isNetwork,
  type ListenAddress,
  listenKind,
  listKind,
  type Option,
  pageKind,
  secretKind,
  serverNameKind,
  textKind,
  versionKind,
} from './config/config-types.ts';
import { type IdentityConfig, identityOptions } from './config/identity-options.ts';
import { type MediaConfig, mediaOptions } from './config/media-options.ts';
import { type PageConfig, pageOptions } from './config/page-options.ts';
import { type ConfiguredPartner, partnersKind } from './config/partner-option.ts';
import { type PolicyConfig, policyOptions } from './config/policy-options.ts';
import { type PreviewConfig, previewOptions } from './config/preview-options.ts';
import { type PushConfig, pushOptions } from './config/push-options.ts';
import { type ScanConfig, scanOptions } from './config/scan-options.ts';
import { type ScimConfig, scimOptions } from './config/scim-options.ts';
import { type SignInConfig, signInOptions } from './providers/sign-in-options.ts';
import { type SupportContact, supportContactsKind } from './support.ts';

const registrationPolicies = ['closed', 'token', 'open'] as const;
const openness = ['everyone', 'partners'] as const;
const findability = ['rooms', 'everyone'] as const;
const encryptedRooms = ['off', 'invite', 'all'] as const;
const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;

/** The options as the server uses them. */
export interface Config
  extends AccountConfig,
    AppservicesConfig,
    IdentityConfig,
    MediaConfig,
    PageConfig,
    PolicyConfig,
    PreviewConfig,
    PushConfig,
    ScanConfig,
    SignInConfig,
    ScimConfig {
  readonly serverName: ServerName;
  readonly dataDir: string;
  readonly clientListen: ListenAddress;
  readonly federationListen: ListenAddress;
  /** Paths of PEM files, both or none. */
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  /** Paths of PEM files. */
  readonly federationCa: readonly string[];
  readonly federationAllowPrivate: boolean;
  readonly federationInbound: (typeof openness)[number];
  readonly federationOutbound: (typeof openness)[number];
  readonly partners: readonly ConfiguredPartner[];
  /** Of rooms whose maker asks for no other. */
  readonly defaultRoomVersion: string;
  /** Whether our users may make rooms of versions that are proposals. */
  readonly unstableRoomVersions: boolean;
  readonly trustedKeyServers: readonly ServerName[];
  readonly registration: (typeof registrationPolicies)[number];
  readonly registrationSecret: string | undefined;
  readonly presence: PresenceMode;
  readonly federationDeviceNames: boolean;
  /** In milliseconds; 0 where no events are sent later. */
  readonly maxEventDelay: number;
  /** Addresses of services that let users into calls of many. */
  readonly livekitServiceUrl: readonly string[];
  /** Whether users can search in messages. */
  readonly search: boolean;
  /** Whom users find in the user directory. */
  readonly userDirectory: (typeof findability)[number];
  /** Which new rooms are encrypted. */
  readonly encryptionByDefault: (typeof encryptedRooms)[number];
  readonly encryptionForced: boolean;
  readonly secureBackupRequired: boolean;
  readonly rateLimits: boolean;
  readonly logLevel: (typeof logLevels)[number];
  /** Without a slash at its end. */
  readonly publicBaseurl: string | undefined;
  /** `host:port`, where other servers find this one. */
  readonly federationAddress: string | undefined;
  /** For `/.well-known/matrix/support`. */
  readonly supportContacts: readonly SupportContact[];
  readonly supportPage: string | undefined;
  /** Addresses and networks whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: readonly string[];
}

/** One option of the table. */

export const options: { readonly [Name in keyof Config]: Option<NonNullable<Config[Name]>> } = {
  serverName: {
    key: 'server_name',
    kind: serverNameKind,
    default: 'localhost',
    describes:
      'The name of this server, the part after the colon of every user id. It can never be changed: the ' +
      'database remembers it, and other servers do too.',
  },
  dataDir: {
    key: 'data_dir',
    kind: textKind('the path of a folder'),
    default: './data',
    describes:
      'The folder of the database, the signing key, the self-signed certificate and the control socket. It ' +
      'is made with access for its owner only. One server uses it at a time.',
  },
  clientListen: {
    key: 'client_listen',
    kind: listenKind,
    default: { host: '127.0.0.1', port: 8008 },
    describes: 'Where clients connect, by plain HTTP: put a reverse proxy with TLS in front of it.',
  },
  federationListen: {
    key: 'federation_listen',
    kind: listenKind,
    default: { host: '127.0.0.1', port: 8448 },
    describes: 'Where other servers connect, by HTTPS.',
  },
  tlsCert: {
    key: 'tls_cert',
    kind: textKind('the path of a PEM file'),
    default: undefined,
    describes:
      'The certificate chain of the federation listener. Without it a self-signed certificate is made at ' +
      'the first start; other servers accept that one only where they were told to.',
  },
  tlsKey: {
    key: 'tls_key',
    kind: textKind('the path of a PEM file'),
    default: undefined,
    describes: 'The private key that belongs to `tls_cert`.',
  },
  federationCa: {
    key: 'federation_ca',
    kind: listKind('the path of a PEM file, or several'),
    default: [],
    describes:
      'Certificates of authorities that are trusted when connecting to other servers, besides the ones that ' +
      'Node trusts. In the environment several paths are divided by commas.',
  },
  federationAllowPrivate: {
    key: 'federation_allow_private',
    kind: flagKind,
    default: false,
    describes:
      'Permits connections to other servers at loopback and private addresses. Leave it off on a server ' +
      'that federates over the internet.',
  },
  federationInbound: {
    key: 'federation_inbound',
    kind: choiceKind(openness),
    default: 'everyone',
    describes:
      'Who may call this server. With `partners` the servers that are no partners get 403 on every route, before ' +
      'anything is looked up for them. `/_matrix/key/v2/server` stays public.',
  },
  federationOutbound: {
    key: 'federation_outbound',
    kind: choiceKind(openness),
    default: 'everyone',
    describes:
      'Whom this server calls. With `partners` nothing is looked up for, or sent to, a server that is no partner: ' +
      'no DNS, no connection; for keys and media neither.',
  },
  partners: {
    key: 'partners',
    kind: partnersKind,
    default: [],
    describes:
      'Servers that there are agreements with; more are added by `npm run kurir -- partner add`, without a restart. ' +
      'In the file each is a name, or a mapping of `name`, `direction` (`both`, `inbound`, `outbound`), `profile` ' +
      '(`kurir`, `synapse`, `rocketchat`, `strict`), `keys` (pinned signing keys by id), `ca` (a PEM file with the ' +
      'only authorities that are trusted for it) and `note`. In the environment several names are divided by commas. ' +
      'See [federation](federation.md).',
  },
  defaultRoomVersion: {
    key: 'default_room_version',
    kind: versionKind(SUPPORTED_VERSIONS),
    default: DEFAULT_ROOM_VERSION,
    describes:
      'The version of new rooms whose maker asks for no other. Older servers may not know the newest versions.',
  },
  unstableRoomVersions: {
    key: 'unstable_room_versions',
    kind: flagKind,
    default: false,
    describes:
      'Whether users may make rooms of versions that are proposals (`org.matrix.msc3757.10` and `.11`: state that belongs ' +
      'to who made it). Such rooms may stop working with a later version of this or another server.',
  },
  trustedKeyServers: {
    key: 'trusted_key_servers',
    kind: listKind('server names such as example.org', isServerName),
    default: [],
    describes:
      'Servers that are asked for the signing keys of a server which does not answer itself, as when it is gone ' +
      'and its old events are still to be verified. Their word counts as its own, so name only servers that you ' +
      'trust; with none, keys come from the servers themselves and nobody else. In the environment several are ' +
      'divided by commas.',
  },
  ...signInOptions,
  ...accountOptions,
  ...identityOptions,
  ...pageOptions,
  ...policyOptions,
  ...scimOptions,
  registration: {
    key: 'registration',
    kind: choiceKind(registrationPolicies),
    default: 'token',
    describes:
      'Who may make an account: nobody (`closed`), who has a registration token (`token`), anybody (`open`).',
  },
  registrationSecret: {
    key: 'registration_secret',
    kind: secretKind(16),
    default: undefined,
    describes:
      'Turns on `/_synapse/admin/v1/register`, by which scripts that know this secret make accounts. Use 16 ' +
      'random characters or more.',
    secret: true,
  },
  presence: {
    key: 'presence',
    kind: choiceKind(presenceModes),
    default: 'local',
    describes:
      'Who sees which users are online: nobody (`off`), the users of this server who share a room with them ' +
      '(`local`), or those of other servers too (`federated`).',
  },
  federationDeviceNames: {
    key: 'federation_device_names',
    kind: flagKind,
    default: false,
    describes:
      'Whether other servers learn the names of the devices of your users, such as "Anna\'s iPhone". They show them ' +
      'beside the device when somebody verifies it. Off: they see its identifier only.',
  },
  maxEventDelay: {
    key: 'max_event_delay',
    kind: durationOrOffKind,
    default: 24 * 60 * 60_000,
    describes:
      'The longest time after which users may have an event sent. Clients in a call use it to be taken out of the call ' +
      'when they vanish. `off` sends no events later.',
  },
  ...appserviceOptions,
  ...pushOptions,
  livekitServiceUrl: {
    key: 'livekit_service_url',
    kind: listKind(
      'an address such as https://rtc.example.org',
      (text) => pageKind.parse(text) !== undefined,
    ),
    default: [],
    describes:
      'Where clients get into calls of many (MatrixRTC): the address of a LiveKit authorisation service (lk-jwt-service). ' +
      'Clients are told it when they ask, and by `/.well-known/matrix/client`. In the environment several are divided by ' +
      'commas.',
  },
  search: {
    key: 'search',
    kind: flagKind,
    default: true,
    describes:
      'Whether users can search in the messages, names and topics of rooms that are not encrypted. The words of these ' +
      'are kept in an index, which takes about as much room as the texts. Switched off, the index is emptied; switched ' +
      'on again, it is built anew, and searches find more and more until it is done.',
  },
  userDirectory: {
    key: 'user_directory',
    kind: choiceKind(findability),
    default: 'rooms',
    describes:
      'Whom users find by name: those with whom they share a room and those in public rooms (`rooms`), or every ' +
      'account of this server besides (`everyone`).',
  },
  encryptionByDefault: {
    key: 'encryption_by_default',
    kind: choiceKind(encryptedRooms),
    default: 'off',
    describes:
      'Which new rooms are encrypted where their maker says nothing of encryption: none (`off`), those for people who ' +
      'are invited (`invite`), or public ones too (`all`). Spaces are not, nor rooms that are made with users of ' +
      'partners who cannot read encrypted messages, such as those of Rocket.Chat. Element then offers no choice.',
  },
  encryptionForced: {
    key: 'encryption_forced',
    kind: flagKind,
    default: false,
    describes:
      'Refuses what would turn the encryption of a room off, or make a room without the encryption that ' +
      '`encryption_by_default` gives it.',
  },
  secureBackupRequired: {
    key: 'secure_backup_required',
    kind: flagKind,
    default: false,
    describes:
      'Makes Element ask users to set up the backup of their keys before anything else. It is told by ' +
      '`/.well-known/matrix/client`.',
  },
  rateLimits: {
    key: 'rate_limits',
    kind: flagKind,
    default: true,
    describes: 'Limits how often users and addresses may do things. Off only for tests and benchmarks.',
  },
  logLevel: {
    key: 'log_level',
    kind: choiceKind(logLevels),
    default: 'info',
    describes: 'The least important messages that are logged. `debug` logs every request.',
  },
  publicBaseurl: {
    key: 'public_baseurl',
    kind: baseUrlKind,
    default: undefined,
    describes:
      'The address at which clients reach this server. It is told to them by `/.well-known/matrix/client` ' +
      'and after signing in.',
  },
  federationAddress: {
    key: 'federation_address',
    kind: serverNameKind,
    default: undefined,
    describes:
      'Where other servers find this one (`host:port`), if not at the server name itself. It is told to them ' +
      'by `/.well-known/matrix/server`, which must then be reachable at the server name by HTTPS.',
  },
  supportContacts: {
    key: 'support_contacts',
    kind: supportContactsKind,
    default: [],
    describes:
      'Whom people may turn to, told by `/.well-known/matrix/support`: for each role (`admin`, `security`, or an ' +
      'identifier such as `org.example.role.press`) a user id, an e-mail address, or both. In the environment ' +
      'several are divided by commas.',
  },
  supportPage: {
    key: 'support_page',
    kind: pageKind,
    default: undefined,
    describes: 'A page that helps users of this server, told by `/.well-known/matrix/support`.',
  },
  trustedProxies: {
    key: 'trusted_proxies',
    kind: listKind('addresses or networks such as 10.0.0.0/8', isNetwork),
    default: ['127.0.0.1', '::1'],
    describes:
      'Reverse proxies whose `X-Forwarded-For` names the client, which rate limits and device lists use. In ' +
      'the environment several are divided by commas.',
  },
  ...mediaOptions,
  ...scanOptions,
  ...previewOptions,
};
