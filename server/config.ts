/** The options of this installation, read from the YAML file and the environment. */

import { parseServerName } from '#keys/ids.ts';
import { accountConfig, refuseHalfMail, refuseNoLogin } from './config/account-options.ts';
import { appserviceConfig } from './config/appservice-options.ts';
import { ConfigError, nearest, readConfigFile } from './config/config-file.ts';
import type { Option } from './config/config-types.ts';
import { identityConfig, refuseHalfTerms } from './config/identity-options.ts';
import { mediaConfig } from './config/media-options.ts';
import { pageConfig } from './config/page-options.ts';
import { partnerWarnings } from './config/partner-option.ts';
import { policyConfig } from './config/policy-options.ts';
import { previewConfig } from './config/preview-options.ts';
import { pushConfig } from './config/push-options.ts';
import { scanConfig } from './config/scan-options.ts';
import { scimConfig } from './config/scim-options.ts';
import { type Config, options } from './config-options.ts';
import { withDelegatedLogin } from './mas/mas-option.ts';
import { refuseHalfSignIn, signInConfig } from './providers/sign-in-options.ts';

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
  refuseHalfMail(config);
  refuseHalfTerms(config);
  if (config.mas === undefined) refuseNoLogin(config);
  refuseHalfSignIn(config);
  return withDelegatedLogin(config);
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
  const isName = (name: string): name is keyof Config => Object.hasOwn(options, name);
  const show = <Name extends keyof Config>(name: Name): ShownOption => {
    const option: Option<NonNullable<Config[Name]>> = options[name];
    const { key, kind, describes, secret } = option;
    const value = config[name];
    const text =
      value === undefined || value === null ? '' : secret ? '(set, not shown)' : kind.format(value);
    return { key, env: envNameOf(option), expects: kind.expects, describes, value: text };
  };
  return Object.keys(options).filter(isName).map(show);
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
  warnings.push(...partnerWarnings(config));
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
    federationInbound: required(options.federationInbound),
    federationOutbound: required(options.federationOutbound),
    partners: required(options.partners),
    defaultRoomVersion: required(options.defaultRoomVersion),
    unstableRoomVersions: required(options.unstableRoomVersions),
    trustedKeyServers: required(options.trustedKeyServers),
    ...accountConfig(read, required),
    ...identityConfig(required),
    ...pageConfig(required),
    ...signInConfig(read, required),
    ...policyConfig(read, required),
    ...scimConfig(read, required),
    registration: required(options.registration),
    registrationSecret: read(options.registrationSecret),
    presence: required(options.presence),
    federationDeviceNames: required(options.federationDeviceNames),
    maxEventDelay: required(options.maxEventDelay),
    ...appserviceConfig(required),
    ...pushConfig(required),
    livekitServiceUrl: required(options.livekitServiceUrl),
    search: required(options.search),
    userDirectory: required(options.userDirectory),
    encryptionByDefault: required(options.encryptionByDefault),
    encryptionForced: required(options.encryptionForced),
    secureBackupRequired: required(options.secureBackupRequired),
    rateLimits: required(options.rateLimits),
    logLevel: required(options.logLevel),
    publicBaseurl: read(options.publicBaseurl),
    federationAddress: read(options.federationAddress),
    supportContacts: required(options.supportContacts),
    supportPage: read(options.supportPage),
    trustedProxies: required(options.trustedProxies),
    ...mediaConfig(read, required),
    ...scanConfig(read, required),
    ...previewConfig(required),
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
