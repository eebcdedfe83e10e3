import { readFile } from 'node:fs/promises';
import { ConfigError } from '../config/config-file.ts';
import type { Secret } from './option-reader.ts';

/**
 * What a secret of the configuration is, from its file where it is in one; without the line end.
 *
 * @throws ConfigError that names the option and the file
 */
export async function readSecret(option: string, secret: Secret): Promise<string> {
  const text = 'value' in secret ? secret.value : await readOptionFile(option, secret.file);
  const value = text.trim();
  if (value === '') throw new ConfigError(`${option}: the secret is empty`);
  return value;
}

/** The text of a file that an option names. @throws ConfigError */
export async function readOptionFile(option: string, path: string): Promise<string> {
  return await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new ConfigError(
      `${option}: ${path} cannot be read (${cause.code}): check the path and its rights`,
      {
        cause,
      },
    );
  });
}
