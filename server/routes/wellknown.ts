import type { FastifyInstance } from 'fastify';
import { notFound } from '#federation/errors.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Config } from '../config-options.ts';
import type { ServerContext } from '../context.ts';
import { rtcTransports } from '../rtc.ts';
import { supportAnswer } from '../support.ts';

/**
 * `GET /.well-known/matrix/client`, `support` and `policy_server`:
 * https://spec.matrix.org/v1.19/client-server-api/#well-known-uris
 */
export function wellknownClientRoutes(
  app: FastifyInstance,
  ctx: Pick<ServerContext, 'config' | 'ownPolicy'>,
): void {
  const { publicBaseurl } = ctx.config;
  const transports = rtcTransports(ctx.config);
  const encryption = encryptionJson(ctx.config);
  app.get('/.well-known/matrix/client', async () => {
    if (publicBaseurl === undefined) throw notFound('public_baseurl is not configured');
    return {
      'm.homeserver': { base_url: publicBaseurl },
      ...encryption,
      ...(transports.length > 0 && { 'org.matrix.msc4143.rtc_foci': transports }),
    };
  });

  const support = supportAnswer(ctx.config);
  app.get('/.well-known/matrix/support', async () => {
    if (support === undefined) throw notFound('support_contacts and support_page are not configured');
    return support;
  });

  app.get('/.well-known/matrix/policy_server', async () => {
    if (ctx.ownPolicy === undefined) throw notFound('This server is not a policy server');
    return ctx.ownPolicy.publicKeys;
  });
}

/** What Element makes of encryption; nothing where no option says anything. */
function encryptionJson({ encryptionByDefault, secureBackupRequired }: Config): JsonObject {
  if (encryptionByDefault === 'off' && !secureBackupRequired) return {};
  const wanted = { default: encryptionByDefault !== 'off', secure_backup_required: secureBackupRequired };
  return { 'io.element.e2ee': wanted };
}
