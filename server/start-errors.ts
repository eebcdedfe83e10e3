import { SigningKeyError } from '#keys/signing-key.ts';
import { SchemaMismatch } from '#storage/migrate.ts';
import { DatabaseLocked } from '#storage/sqlite-connection.ts';
import type { Config } from './config.ts';
import { ConfigError } from './config-file.ts';

/** The one line for an operator who can mend what kept the server from starting; undefined for a fault of ours. */
export function explain(error: unknown, config?: Config): string | undefined {
  if (error instanceof ConfigError || error instanceof SigningKeyError) return error.message;
  if (error instanceof DatabaseLocked) {
    return `${error.message}: stop that one, or set data_dir (KURIR_DATA_DIR) to another folder`;
  }
  if (error instanceof SchemaMismatch)
    return `${error.message}: start the version that it was last used with`;
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return explainSystemError(error, config);
}

function explainSystemError(error: Error & { code?: unknown }, config?: Config): string | undefined {
  const port = 'port' in error ? String(error.port) : '';
  const listens =
    config !== undefined && port === String(config.federationListen.port)
      ? 'federation_listen (KURIR_FEDERATION_LISTEN)'
      : 'client_listen (KURIR_CLIENT_LISTEN)';
  switch (error.code) {
    case 'EADDRINUSE':
      return `port ${port} is in use by another program: stop that one, or set ${listens} to another port`;
    case 'EADDRNOTAVAIL':
      return `this machine does not have the address in ${listens}: set one that it has`;
    case 'EACCES':
    case 'EPERM':
      return port === ''
        ? `no access to ${'path' in error ? String(error.path) : 'a file'}: check the rights of data_dir (KURIR_DATA_DIR)`
        : `port ${port} may not be used by this user: set ${listens} to a port above 1023`;
    case 'EROFS':
    case 'ENOSPC':
    case 'ENOTDIR':
      return `${error.message}: check data_dir (KURIR_DATA_DIR)`;
    default:
      return undefined;
  }
}
