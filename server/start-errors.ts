import { SigningKeyError } from '#keys/signing-key.ts';
import { SchemaMismatch } from '#storage/migrate.ts';
import { DatabaseLocked, isSqliteError } from '#storage/sqlite-connection.ts';
import { ConfigError } from './config/config-file.ts';
import type { Config } from './config-options.ts';

/** What SQLite says of a database that cannot be opened, and what to do about it. */
const DATABASE_FIXES: readonly (readonly [code: string, fix: string])[] = [
  ['SQLITE_NOTADB', 'put a backup in its place'],
  ['SQLITE_CORRUPT', 'put a backup in its place'],
  ['SQLITE_CANTOPEN', 'check its rights'],
  ['SQLITE_READONLY', 'check its rights'],
  ['SQLITE_FULL', 'make room on its disk'],
  ['SQLITE_IOERR', 'check its disk'],
];

/** The one line for an operator who can mend what kept the server from starting; undefined for a fault of ours. */
export function explain(error: unknown, config?: Config): string | undefined {
  if (error instanceof ConfigError || error instanceof SigningKeyError) return error.message;
  if (error instanceof DatabaseLocked) {
    return `${error.message}: stop that one, or set data_dir (KURIR_DATA_DIR) to another folder`;
  }
  if (error instanceof SchemaMismatch)
    return `${error.message}: start the version that it was last used with`;
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  const [, fix] = DATABASE_FIXES.find(([code]) => isSqliteError(error, code)) ?? [];
  if (fix !== undefined) {
    const place = config?.dataDir ?? 'data_dir';
    return `the database in ${place} cannot be used (${error.message}): ${fix}, or set data_dir (KURIR_DATA_DIR) to another folder`;
  }
  return explainSystemError(error, config);
}

function explainSystemError(error: Error & { code?: unknown }, config?: Config): string | undefined {
  const port = 'port' in error ? String(error.port) : '';
  const host = 'hostname' in error ? error.hostname : undefined;
  const federation = config?.federationListen;
  const isFederation = port === '' ? host === federation?.host : port === String(federation?.port);
  const listens = isFederation
    ? 'federation_listen (KURIR_FEDERATION_LISTEN)'
    : 'client_listen (KURIR_CLIENT_LISTEN)';
  switch (error.code) {
    case 'EADDRINUSE':
      return `port ${port} is in use by another program: stop that one, or set ${listens} to another port`;
    case 'EADDRNOTAVAIL':
      return `this machine does not have the address in ${listens}: set one that it has`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `there is no host ${String(host)}: set ${listens} to an address of this machine`;
    case 'EACCES':
    case 'EPERM':
      return port === ''
        ? `no access to ${'path' in error ? String(error.path) : 'a file'}: check the rights of data_dir (KURIR_DATA_DIR)`
        : `port ${port} may not be used by this user: set ${listens} to a port above 1023`;
    case 'ENOENT':
      if (!('syscall' in error) || error.syscall !== 'mkdir') return undefined;
      return `${error.message}: check data_dir (KURIR_DATA_DIR)`;
    case 'EEXIST':
    case 'EROFS':
    case 'ENAMETOOLONG':
    case 'ENOSPC':
    case 'ENOTDIR':
      return `${error.message}: check data_dir (KURIR_DATA_DIR)`;
    default:
      return undefined;
  }
}
