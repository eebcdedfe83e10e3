/**
 * The `requestToken` of e-mail addresses and phone numbers, of which this server knows the former only.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken
 */

import type { FastifyInstance } from 'fastify';
import { threepidMediumNotSupported } from '#federation/errors.ts';
import type { Purpose } from '#storage/email-validations.ts';
import { emailOfRegistration, refuseIfClosed } from '../auth/registration-challenge.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { requestEmailToken } from '../email/validation.ts';
import { speechFor } from '../languages/choose.ts';

const V3 = '/_matrix/client/v3';
const PLACES: readonly (readonly [place: string, purpose: Purpose])[] = [
  ['register', 'register'],
  ['account/password', 'password'],
  ['account/3pid', 'add'],
];

export function requestTokenRoutes(app: FastifyInstance, ctx: ServerContext): void {
  for (const [place, purpose] of PLACES) {
    app.post(`${V3}/${place}/email/requestToken`, async (request) => {
      if (purpose === 'register') refuseIfOff(ctx);
      const { language } = speechFor(ctx, request);
      return await requestEmailToken(ctx, bodyObject(request), { purpose, from: request.ip, language });
    });

    app.post(`${V3}/${place}/msisdn/requestToken`, async () => {
      throw threepidMediumNotSupported('This server knows no phone numbers');
    });
  }
}

function refuseIfOff(ctx: ServerContext): void {
  refuseIfClosed(ctx);
  if (ctx.mailer !== undefined && emailOfRegistration(ctx) === 'off') {
    throw threepidMediumNotSupported('E-mail addresses are not used to register on this server');
  }
}
