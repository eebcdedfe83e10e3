import type { FastifyInstance } from 'fastify';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { rtcTransports } from '../rtc.ts';

/** Where calls of many meet: MSC4143, under its own name and that of the time before it is in the specification. */
export function rtcTransportsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const answer = { rtc_transports: rtcTransports(ctx.config) };
  for (const path of ['v1/rtc/transports', 'unstable/org.matrix.msc4143/rtc/transports']) {
    app.get(`/_matrix/client/${path}`, async (request) => {
      await requireRequester(ctx, request);
      return answer;
    });
  }
}
