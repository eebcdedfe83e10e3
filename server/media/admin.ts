/** What the routes of administrators about media have in common. */

import type { FastifyRequest } from 'fastify';
import type { Media } from '#storage/media.ts';
import { requireAdmin } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';

/** A media as the tools show it. Who put it into quarantine is not kept: this server has. */
export function describe({ serverName }: Pick<ServerContext, 'serverName'>, known: Media): object {
  return {
    media_id: known.mediaId,
    media_type: known.contentType,
    media_length: known.size,
    upload_name: known.uploadName ?? null,
    created_ts: known.createdTs,
    last_access_ts: known.accessedTs,
    quarantined_by: known.isQuarantined ? serverName : null,
    safe_from_quarantine: known.isProtected,
  };
}

/** Only administrators, and not without end. */
export async function admit(ctx: ServerContext, request: FastifyRequest): Promise<void> {
  const { userId } = await requireAdmin(ctx, request);
  ctx.limits.take('moderation', userId);
}
