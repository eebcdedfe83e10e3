/** Who may use the service: https://www.rfc-editor.org/rfc/rfc7644#section-2 */

import { readFile, stat } from 'node:fs/promises';
import type { FastifyRequest } from 'fastify';
import { equalSecrets } from '#keys/tokens.ts';
import { bearerOf } from '../auth/access-token.ts';
import type { ServerContext } from '../context.ts';
import { ScimError } from './errors.ts';

const MAX_FILE_BYTES = 64 * 1_024;
const MOST_TOKENS = 20;
const LEAST_CHARACTERS = 16;
const UNAUTHORIZED = { headers: { 'www-authenticate': 'Bearer realm="scim"' } };

/** The tokens of the options: those of a file count from the moment on at which it is written. */
export class ScimTokens {
  readonly #ctx: Pick<ServerContext, 'config' | 'log' | 'limits'>;
  #file: { readonly tokens: readonly string[]; readonly mtimeMs: number } = { tokens: [], mtimeMs: -1 };

  constructor(ctx: Pick<ServerContext, 'config' | 'log' | 'limits'>) {
    this.#ctx = ctx;
  }

  /** @throws ScimError 401 for a request without one of the tokens, 429 for an address that has tried too many */
  async require(request: FastifyRequest): Promise<void> {
    const { limits } = this.#ctx;
    const given = bearerOf(request.headers.authorization ?? '');
    if (given === undefined) throw new ScimError(401, 'A bearer token is missing', UNAUTHORIZED);
    limits.check('scim_token', request.ip);
    // All of them: which one it was does not show in the time.
    const isGood = (await this.#tokens()).map((token) => equalSecrets(given, token)).includes(true);
    if (isGood) return;
    limits.take('scim_token', request.ip);
    throw new ScimError(401, 'The bearer token is not right', UNAUTHORIZED);
  }

  async #tokens(): Promise<readonly string[]> {
    const { scimToken = [], scimTokenFile } = this.#ctx.config;
    if (scimTokenFile === undefined) return scimToken;
    const { mtimeMs, size } = await stat(scimTokenFile).catch(() => ({ mtimeMs: -1, size: 0 }));
    if (mtimeMs !== this.#file.mtimeMs)
      this.#file = { tokens: await this.#read(scimTokenFile, size), mtimeMs };
    return [...scimToken, ...this.#file.tokens];
  }

  async #read(path: string, size: number): Promise<readonly string[]> {
    const text = size > MAX_FILE_BYTES ? '' : await readFile(path, 'utf8').catch(() => '');
    const tokens = text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line.length >= LEAST_CHARACTERS)
      .slice(0, MOST_TOKENS);
    if (tokens.length === 0)
      this.#ctx.log.warn({ path }, 'the file of SCIM tokens has none of 16 characters or more');
    return tokens;
  }
}
