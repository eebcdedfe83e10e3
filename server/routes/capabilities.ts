import type { FastifyInstance } from 'fastify';
import { SUPPORTED_VERSIONS, UNSTABLE_VERSIONS } from '#rooms/versions.ts';
import * as oauthSessions from '#storage/oauth-sessions.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { MOST_SCHEDULED } from '../sending/delayed-events.ts';

/** What needs user-interactive authentication, which is none of OAuth: there is the account page in its place. */
const NOT_IN_OAUTH = {
  'm.change_password': { enabled: false },
  'm.3pid_changes': { enabled: false },
  'm.get_login_token': { enabled: false },
};

/** https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation */
export function capabilitiesRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const unstable = ctx.config.unstableRoomVersions ? UNSTABLE_VERSIONS : [];
  const available = Object.fromEntries([
    ...SUPPORTED_VERSIONS.map((version) => [version, 'stable']),
    ...unstable.map((version) => [version, 'unstable']),
  ]);
  const capabilities = {
    'm.room_versions': { default: ctx.config.defaultRoomVersion, available },
    'm.change_password': { enabled: true },
    'm.set_displayname': { enabled: true },
    'm.set_avatar_url': { enabled: true },
    'm.profile_fields': { enabled: true },
    'm.3pid_changes': { enabled: ctx.mailer !== undefined },
    'uk.tcpip.msc4133.profile_fields': { enabled: true },
    // Where there are none, Element asks for none.
    'io.element.msc4452.preview_url': { enabled: ctx.previews !== undefined },
    'm.get_login_token': { enabled: true },
  };
  // Without it nothing is sent later.
  const delays = { max_delay_ms: ctx.config.maxEventDelay, max_scheduled: MOST_SCHEDULED };
  if (ctx.config.maxEventDelay > 0)
    Object.assign(capabilities, { 'org.matrix.msc4140.delayed_events': delays });
  const { webPush } = ctx.pushes;
  if (webPush !== undefined)
    Object.assign(capabilities, { 'm.webpush': { enabled: true, vapid: webPush.publicKey } });
  app.get('/_matrix/client/v3/capabilities', async (request) => {
    const requester = await requireRequester(ctx, request);
    const moderation = requester.isAdmin && { 'm.account_moderation': { lock: true, suspend: true } };
    const isOAuth = (await oauthSessions.of(ctx.db, requester)) !== undefined;
    return { capabilities: { ...capabilities, ...moderation, ...(isOAuth && NOT_IN_OAUTH) } };
  });
}
