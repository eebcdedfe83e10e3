import * as childProcess from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseServerName, type ServerName } from '#keys/ids.ts';
import { ConfigError } from '../config/config-file.ts';
import { type Config, options } from '../config-options.ts';
import type { CertificateRequest } from './certificate-program.ts';

/** PEM texts. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

const execFile = promisify(childProcess.execFile);

const DAY_MS = 24 * 60 * 60_000;
const VALIDITY_MS = 3_650 * DAY_MS;
const RENEW_BEFORE_MS = 30 * DAY_MS;

/** Where the self-signed certificate is kept, for others to trust it by. */
export function certificatePath(dataDir: string): string {
  return join(dataDir, 'federation.crt');
}

/**
 * The certificate of the federation listener: the configured one, else a self-signed one, which is made at the
 * first start, kept in the data folder, and made anew a month before it ends.
 *
 * @throws ConfigError as `configuredCertificate`
 */
export async function loadOrCreateCertificate(
  config: Pick<Config, 'serverName' | 'dataDir' | 'tlsCert' | 'tlsKey'>,
): Promise<Certificate> {
  const { dataDir, serverName } = config;
  const configured = await configuredCertificate(config);
  if (configured !== undefined) return configured;
  const paths = { cert: certificatePath(dataDir), key: join(dataDir, 'federation.key') };
  const kept = await readKept(paths);
  if (kept !== undefined && isSound(kept) && covers(kept.cert, serverName)) return kept;
  const made = await selfSigned(serverName);
  await writeWhole(paths.key, made.key);
  await writeWhole(paths.cert, made.cert);
  return made;
}

/**
 * The certificate that the configuration names.
 *
 * @throws ConfigError if a file cannot be read, holds something else, or the key is of another certificate
 */
export async function configuredCertificate({
  tlsCert,
  tlsKey,
}: Pick<Config, 'tlsCert' | 'tlsKey'>): Promise<Certificate | undefined> {
  if (tlsCert === undefined || tlsKey === undefined) return undefined;
  const cert = await readCertificates(tlsCert, options.tlsCert.key);
  const option = options.tlsKey.key;
  const key = await readConfigured(tlsKey, option);
  if (attempt(() => createPrivateKey(key)) === undefined) {
    throw new ConfigError(
      `${option}: ${tlsKey} holds no private key that can be read: use a PEM file without passphrase`,
    );
  }
  if (!isSound({ cert, key })) {
    throw new ConfigError(
      `${option}: ${tlsKey} is not the key of ${tlsCert}: use the two files that were made together`,
    );
  }
  return { cert, key };
}

/**
 * The certificates of `federation_ca`, or of another option; undefined where there are none.
 *
 * @throws ConfigError if a file cannot be read or holds no certificate
 */
export async function configuredRoots(
  paths: readonly string[],
  option: string = options.federationCa.key,
): Promise<string | undefined> {
  if (paths.length === 0) return undefined;
  const texts = await Promise.all(paths.map((path) => readCertificates(path, option)));
  return texts.join('\n');
}

/**
 * A self-signed certificate for the server's name and for loopback. Made by a process of its own: what makes
 * it takes more time and memory to load than the rest of the server, and is needed once in ten years.
 */
export async function selfSigned(serverName: ServerName): Promise<Certificate> {
  const now = Date.now();
  const request: CertificateRequest = {
    host: hostOf(serverName),
    notBefore: now - DAY_MS,
    notAfter: now + VALIDITY_MS,
  };
  const program = fileURLToPath(new URL('./certificate-program.ts', import.meta.url));
  const { stdout } = await execFile(process.execPath, [program, JSON.stringify(request)]);
  const made: Certificate = JSON.parse(stdout);
  return made;
}

function covers(cert: string, serverName: ServerName): boolean {
  const certificate = new X509Certificate(cert);
  const host = hostOf(serverName).replace(/^\[|\]$/g, '');
  const isNamed = certificate.checkHost(host) !== undefined || certificate.checkIP(host) !== undefined;
  return isNamed && certificate.validToDate.getTime() > Date.now() + RENEW_BEFORE_MS;
}

function hostOf(serverName: ServerName): string {
  return parseServerName(serverName)?.host ?? serverName;
}

async function readKept(paths: { cert: string; key: string }): Promise<Certificate | undefined> {
  try {
    return { cert: await readFile(paths.cert, 'utf8'), key: await readFile(paths.key, 'utf8') };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

async function readConfigured(path: string, key: string): Promise<string> {
  return await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new ConfigError(`${key}: ${path} cannot be read (${cause.code}): check the path and its rights`, {
      cause,
    });
  });
}

async function readCertificates(path: string, key: string): Promise<string> {
  const text = await readConfigured(path, key);
  if (attempt(() => new X509Certificate(text)) !== undefined) return text;
  throw new ConfigError(`${key}: ${path} holds no certificate: use a PEM file of one or several`);
}

/** Whether it can be used, and the key is that of the first certificate. */
function isSound({ cert, key }: Certificate): boolean {
  return attempt(() => new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) === true;
}

/** Undefined where it throws, as the parsers of `node:crypto` do at what is none. */
function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

/** All or nothing, also if the process is killed meanwhile. */
async function writeWhole(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 });
  await rename(`${path}.new`, path);
}
