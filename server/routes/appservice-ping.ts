/** https://spec.matrix.org/v1.19/application-service-api/#pinging */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { forbidden, pingFailed, urlNotSet } from '#federation/errors.ts';
import type { Answered, Call, Caller } from '../appservices/call.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';

type PingRequest = FastifyRequest<{ Params: { appserviceId: string } }>;

const TIMEOUT_MS = 10_000;
const LONGEST_ID = 255;
/** As the proposal had it, MSC2659: bridges of before Matrix 1.7 know no other path. */
const UNSTABLE = 'unstable/fi.mau.msc2659';

/** Lets a service find out whether this server reaches it. */
export function appservicePingRoutes(app: FastifyInstance, ctx: ServerContext): void {
  for (const path of ['v1', UNSTABLE]) {
    app.post(`/_matrix/client/${path}/appservice/:appserviceId/ping`, async (request: PingRequest) =>
      ping(ctx, request),
    );
  }
}

async function ping(ctx: ServerContext, request: PingRequest): Promise<{ duration_ms: number }> {
  const { appservice } = await requireRequester(ctx, request);
  if (appservice?.id !== request.params.appserviceId) {
    throw forbidden("The access token is not the application service's as_token");
  }
  const transactionId = optionalString(bodyObject(request), 'transaction_id')?.slice(0, LONGEST_ID);
  if (appservice.registration.url === undefined) throw urlNotSet();
  const body = transactionId === undefined ? {} : { transaction_id: transactionId };
  const call = {
    method: 'POST',
    path: '/v1/ping',
    body: JSON.stringify(body),
    timeoutMs: TIMEOUT_MS,
  } as const;
  const began = performance.now();
  const answer = await callPing(appservice.caller, call);
  if (answer.kind !== 'answered' || answer.status < 200 || answer.status >= 300) throw pingFailed(answer);
  ctx.appservices.retry(appservice.id);
  return { duration_ms: Math.round(performance.now() - began) };
}

function callPing(caller: Caller, call: Call): Promise<Answered> {
  return caller.call({ ...call, formerPath: '/_matrix/app/unstable/fi.mau.msc2659/ping' });
}
