/**
 * Every option of the server, in one table: from it come the YAML file's keys, the environment's names
 * (`KURIR_` and the key in capitals), the checks and the reference page docs/configuration.md.
 */

import type { ServerName } from '#keys/ids.ts';
import { parseServerName } from '#keys/ids.ts';
import { ConfigError, nearest, readConfigFile } from './config-file.ts';
import {
  baseUrlKind,
  choiceKind,
  flagKind,
  isNetwork,
  type ListenAddress,
  listenKind,
  listKind,
  serverNameKind,
  textKind,
  type ValueKind,
} from './config-types.ts';

const registrationPolicies = ['closed', 'token', 'open'] as const;
const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;

/** The options as the server uses them. */
export interface Config {
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
  readonly registration: (typeof registrationPolicies)[number];
  readonly registrationSecret: string | undefined;
  readonly rateLimits: boolean;
  readonly logLevel: (typeof logLevels)[number];
  /** Without a slash at its end. */
  readonly publicBaseurl: string | undefined;
  /** `host:port`, where other servers find this one. */
  readonly federationAddress: string | undefined;
  /** Addresses and networks whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: readonly string[];
}

/** One option of the table. */
export interface Option<T> {
  /** In the YAML file; the environment's name is `KURIR_` and this in capitals. */
  readonly key: string;
  readonly kind: ValueKind<T>;
  readonly default: T | undefined;
  /** What it does, for the reference page. */
  readonly describes: string;
  /** True for a value that is never shown. */
  readonly secret?: true;
}

export const options: { readonly [Name in keyof Config]-?: Option<NonNullable<Config[Name]>> } = {
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
  registration: {
    key: 'registration',
    kind: choiceKind(registrationPolicies),
    default: 'token',
    describes:
      'Who may make an account: nobody (`closed`), who has a registration token (`token`), anybody (`open`).',
  },
  registrationSecret: {
    key: 'registration_secret',
    kind: textKind('a secret of 16 characters or more'),
    default: undefined,
    describes:
      'Turns on `/_synapse/admin/v1/register`, by which scripts that know this secret make accounts. Use 16 ' +
      'random characters or more.',
    secret: true,
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
  trustedProxies: {
    key: 'trusted_proxies',
    kind: listKind('addresses or networks such as 10.0.0.0/8', isNetwork),
    default: ['127.0.0.1', '::1'],
    describes:
      'Reverse proxies whose `X-Forwarded-For` names the client, which rate limits and device lists use. In ' +
      'the environment several are divided by commas.',
  },
};

const ENV_PREFIX = 'KURIR_';
/** Names that are not ours to judge: the file's own, those of tests, and what Kubernetes adds for a service. */
const OTHER_ENV = /^KURIR_(CONFIG$|TEST_|BENCH_|SERVICE_|PORT)/;

/** The environment's name of an option. */
export function envNameOf(option: { readonly key: string }): string {
  return `${ENV_PREFIX}${option.key.toUpperCase()}`;
}

/**
 * The options from `--config FILE` (or `KURIR_CONFIG`) and the environment, which wins over the file.
 *
 * @throws ConfigError with one line that names the option and the fix
 */
export async function loadConfig(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<Config> {
  const file = configFileOf(argv) ?? env.KURIR_CONFIG;
  const fromFile =
    file === undefined || file === '' ? new Map<string, unknown>() : await readConfigFile(file);
  const all: readonly { readonly key: string }[] = Object.values(options);
  const keys = all.map((option) => option.key);
  for (const key of fromFile.keys()) {
    if (!keys.includes(key)) throw new ConfigError(`${file}: unknown option "${key}"${nearest(key, keys)}`);
  }
  const envNames = all.map(envNameOf);
  for (const name of Object.keys(env)) {
    if (!name.startsWith(ENV_PREFIX) || OTHER_ENV.test(name) || envNames.includes(name)) continue;
    throw new ConfigError(`unknown environment variable ${name}${nearest(name, envNames)}`);
  }
  const config = configFrom((option) => readOption(option, { env, fromFile, file }));
  refuseHalves(config);
  return config;
}

/** The options without a file and environment. */
export function defaultConfig(): Config {
  return configFrom((option) => option.default);
}

/** An option with a value, as an operator writes and reads it. */
export interface ShownOption {
  readonly key: string;
  readonly env: string;
  readonly expects: string;
  readonly describes: string;
  /** Empty where there is none; for a secret only that there is one. */
  readonly value: string;
}

/** The options with their values, in the order of the table, without secrets. */
export function shownOptions(config: Config): ShownOption[] {
  const show = <T>(option: Option<T>, value: T | undefined): ShownOption => {
    const { key, kind, describes, secret } = option;
    const text = value === undefined ? '' : secret ? '(set, not shown)' : kind.format(value);
    return { key, env: envNameOf(option), expects: kind.expects, describes, value: text };
  };
  return [
    show(options.serverName, config.serverName),
    show(options.dataDir, config.dataDir),
    show(options.clientListen, config.clientListen),
    show(options.federationListen, config.federationListen),
    show(options.tlsCert, config.tlsCert),
    show(options.tlsKey, config.tlsKey),
    show(options.federationCa, config.federationCa),
    show(options.federationAllowPrivate, config.federationAllowPrivate),
    show(options.registration, config.registration),
    show(options.registrationSecret, config.registrationSecret),
    show(options.rateLimits, config.rateLimits),
    show(options.logLevel, config.logLevel),
    show(options.publicBaseurl, config.publicBaseurl),
    show(options.federationAddress, config.federationAddress),
    show(options.trustedProxies, config.trustedProxies),
  ];
}

/** What an operator should know about these options, one line each. */
export function warningsFor(config: Config): string[] {
  const warnings: string[] = [];
  if (parseServerName(config.serverName)?.port !== undefined) {
    warnings.push(
      `The server name ${config.serverName} has a port, which then is part of every user id for good. ` +
        'Use a name without one in production.',
    );
  }
  if (config.registration === 'open') {
    warnings.push('Registration is open: anybody who reaches this server can make an account.');
  }
  if (config.registrationSecret !== undefined && config.registrationSecret.length < 16) {
    warnings.push(
      'registration_secret is short: whoever guesses it makes administrators. Use 16 characters.',
    );
  }
  return warnings;
}

/** The value of `--config FILE` or `--config=FILE`; other arguments stop the start. */
function configFileOf(argv: readonly string[]): string | undefined {
  const [first, second, ...rest] = argv;
  if (first === undefined) return undefined;
  if (first === '--config' && second !== undefined && rest.length === 0) return second;
  if (first.startsWith('--config=') && second === undefined) return first.slice('--config='.length);
  throw new ConfigError(`unknown argument ${first}: use --config FILE, or no argument`);
}

function configFrom(read: <T>(option: Option<T>) => T | undefined): Config {
  const required = <T>(option: Option<T>): T => {
    const value = read(option);
    if (value === undefined) throw new ConfigError(`${option.key} is missing: use ${option.kind.expects}`);
    return value;
  };
  return {
    serverName: required(options.serverName),
    dataDir: required(options.dataDir),
    clientListen: required(options.clientListen),
    federationListen: required(options.federationListen),
    tlsCert: read(options.tlsCert),
    tlsKey: read(options.tlsKey),
    federationCa: required(options.federationCa),
    federationAllowPrivate: required(options.federationAllowPrivate),
    registration: required(options.registration),
    registrationSecret: read(options.registrationSecret),
    rateLimits: required(options.rateLimits),
    logLevel: required(options.logLevel),
    publicBaseurl: read(options.publicBaseurl),
    federationAddress: read(options.federationAddress),
    trustedProxies: required(options.trustedProxies),
  };
}

interface Sources {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly fromFile: ReadonlyMap<string, unknown>;
  readonly file: string | undefined;
}

function readOption<T>(option: Option<T>, { env, fromFile, file }: Sources): T | undefined {
  const name = envNameOf(option);
  const text = env[name];
  const given = text !== undefined && text !== '' ? text : fromFile.get(option.key);
  if (given === undefined || given === null) return option.default;
  const value = option.kind.parse(given);
  if (value !== undefined) return value;
  const where = given === text ? name : `${file}: ${option.key}`;
  const what = option.secret ? 'is not right' : `is ${JSON.stringify(given)}`;
  throw new ConfigError(`${where} ${what}: use ${option.kind.expects}`);
}

function refuseHalves(config: Config): void {
  const [given, missing] = config.tlsCert === undefined ? ['tls_key', 'tls_cert'] : ['tls_cert', 'tls_key'];
  if ((config.tlsCert === undefined) === (config.tlsKey === undefined)) return;
  throw new ConfigError(
    `${given} is given without ${missing}: give both, or none for a self-signed certificate`,
  );
}
