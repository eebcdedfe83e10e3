/** https://spec.matrix.org/v1.19/client-server-api/#user-directory */

import type { FastifyInstance } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalInteger, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { findUsers } from '../user-directory/find.ts';

const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 50;
const LONGEST_TERM = 256;
const MOST_WORDS = 10;

/** Finds users by the beginnings of the words of their names and ids. */
export function usersRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post('/_matrix/client/v3/user_directory/search', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('directory', userId);
    const body = bodyObject(request);
    const term = requiredString(body, 'search_term');
    if (term.length > LONGEST_TERM || term.split(/\s+/).length > MOST_WORDS)
      throw invalidParam('search_term is too long');
    const limit = optionalInteger(body, 'limit') ?? DEFAULT_LIMIT;
    if (limit < 0) throw invalidParam('limit is negative');
    const { users, isCut } = await findUsers(ctx, userId, term, Math.min(limit, MAX_LIMIT));
    const results = users.map(({ userId: found, displayName, avatarUrl }) => ({
      user_id: found,
      ...(displayName !== undefined && { display_name: displayName }),
      ...(avatarUrl !== undefined && { avatar_url: avatarUrl }),
    }));
    return { results, limited: isCut };
  });
}
