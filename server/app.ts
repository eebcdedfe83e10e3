/** The two applications: what clients reach and what other servers reach. Every route of Kurir is named here. */

import type { FastifyInstance } from 'fastify';
import { refuseStrangers } from '#federation/auth.ts';
import { backfillRoutes } from '#federation/routes/backfill.ts';
import { eventAuthRoutes } from '#federation/routes/event-auth.ts';
import { eventsRoutes } from '#federation/routes/events.ts';
import { hierarchyRoutes } from '#federation/routes/hierarchy.ts';
import { invitesRoutes } from '#federation/routes/invites.ts';
import { joinsRoutes } from '#federation/routes/joins.ts';
import { keysClaimRoutes } from '#federation/routes/keys-claim.ts';
import { keysQueryRoutes } from '#federation/routes/keys-query.ts';
import { keysServerRoutes } from '#federation/routes/keys-server.ts';
import { knocksRoutes } from '#federation/routes/knocks.ts';
import { leavingRoutes } from '#federation/routes/leaving.ts';
import { mediaRoutes } from '#federation/routes/media.ts';
import { openidRoutes } from '#federation/routes/openid.ts';
import { publicRoomsRoutes } from '#federation/routes/public-rooms.ts';
import { queryRoutes } from '#federation/routes/query.ts';
import { roomPolicyRoutes } from '#federation/routes/room-policy.ts';
import { thirdPartyInvitesRoutes } from '#federation/routes/third-party-invites.ts';
import { timestampToEventRoutes } from '#federation/routes/timestamp-to-event.ts';
import { transactionsRoutes } from '#federation/routes/transactions.ts';
import { userDevicesRoutes } from '#federation/routes/user-devices.ts';
import { userKeysQueryRoutes } from '#federation/routes/user-keys-query.ts';
import { versionRoutes } from '#federation/routes/version.ts';
import { wellknownRoutes } from '#federation/routes/wellknown.ts';
import { refuseLegacyLogin } from './auth/legacy-api.ts';
import type { ServerContext } from './context.ts';
import { type AppOptions, createApp } from './http/create-app.ts';
import { accountDataRoutes } from './routes/account-data.ts';
import { accountDeactivationRoutes } from './routes/account-deactivation.ts';
import { accountPagesRoutes } from './routes/account-pages.ts';
import { adminRoutes } from './routes/admin.ts';
import { administrativeContactRoutes } from './routes/administrative-contact.ts';
import { appservicePingRoutes } from './routes/appservice-ping.ts';
import { appserviceRoomDirectoryRoutes } from './routes/appservice-room-directory.ts';
import { authFallbackPageRoutes } from './routes/auth-fallback-page.ts';
import { banningRoutes } from './routes/banning.ts';
import { capabilitiesRoutes } from './routes/capabilities.ts';
import { createRoomRoutes } from './routes/create-room.ts';
import { crossSigningRoutes } from './routes/cross-signing.ts';
import { dehydratedDeviceRoutes } from './routes/dehydrated-device.ts';
import { delayedEventsRoutes } from './routes/delayed-events.ts';
import { deviceManagementRoutes } from './routes/device-management.ts';
import { directoryRoutes } from './routes/directory.ts';
import { emailConfirmationPageRoutes } from './routes/email-confirmation-page.ts';
import { eventContextRoutes } from './routes/event-context.ts';
import { filterRoutes } from './routes/filter.ts';
import { healthRoutes } from './routes/health.ts';
import { invitingRoutes } from './routes/inviting.ts';
import { joiningRoutes } from './routes/joining.ts';
import { keyBackupRoutes } from './routes/key-backup.ts';
import { keysRoutes } from './routes/keys.ts';
import { kickingRoutes } from './routes/kicking.ts';
import { knockingRoutes } from './routes/knocking.ts';
import { leavingRoutes as clientLeavingRoutes } from './routes/leaving.ts';
import { listJoinedRoomsRoutes } from './routes/list-joined-rooms.ts';
import { listPublicRoomsRoutes } from './routes/list-public-rooms.ts';
import { loginRoutes } from './routes/login.ts';
import { loginFallbackPageRoutes } from './routes/login-fallback-page.ts';
import { loginTokenRoutes } from './routes/login-token.ts';
import { logoutRoutes } from './routes/logout.ts';
import { masRoutes } from './routes/mas.ts';
import { mediaAdminRoutes } from './routes/media-admin.ts';
import { mediaDownloadRoutes } from './routes/media-download.ts';
import { mediaLegacyRoutes } from './routes/media-legacy.ts';
import { mediaScannerRoutes } from './routes/media-scanner.ts';
import { mediaUploadRoutes } from './routes/media-upload.ts';
import { messagePaginationRoutes } from './routes/message-pagination.ts';
import { mutualRoomsRoutes } from './routes/mutual-rooms.ts';
import { notificationsRoutes } from './routes/notifications.ts';
import { oauthAuthorizationRoutes } from './routes/oauth-authorization.ts';
import { oauthDeviceRoutes } from './routes/oauth-device.ts';
import { oauthMetadataRoutes } from './routes/oauth-metadata.ts';
import { oauthRegistrationRoutes } from './routes/oauth-registration.ts';
import { oauthRevocationRoutes } from './routes/oauth-revocation.ts';
import { oauthTokenRoutes } from './routes/oauth-token.ts';
import { oldSyncRoutes } from './routes/old-sync.ts';
import { openidTokenRoutes } from './routes/openid.ts';
import { passwordManagementRoutes } from './routes/password-management.ts';
import { peekingEventsRoutes } from './routes/peeking-events.ts';
import { presenceRoutes } from './routes/presence.ts';
import { profileRoutes } from './routes/profile.ts';
import { providerLogoutRoutes } from './routes/provider-logout.ts';
import { providerNewcomerRoutes } from './routes/provider-newcomer.ts';
import { providerSignInRoutes } from './routes/provider-sign-in.ts';
import { pushRulesRoutes } from './routes/push-rules.ts';
import { pusherRoutes } from './routes/pusher.ts';
import { readMarkersRoutes } from './routes/read-markers.ts';
import { receiptsRoutes } from './routes/receipts.ts';
import { redactionRoutes } from './routes/redaction.ts';
import { refreshRoutes } from './routes/refresh.ts';
import { registrationRoutes } from './routes/registration.ts';
import { registrationPageRoutes } from './routes/registration-page.ts';
import { relationsRoutes } from './routes/relations.ts';
import { rendezvousRoutes } from './routes/rendezvous.ts';
import { reportContentRoutes } from './routes/report-content.ts';
import { requestTokenRoutes } from './routes/request-token.ts';
import { roomEventByTimestampRoutes } from './routes/room-event-by-timestamp.ts';
import { roomInitialSyncRoutes } from './routes/room-initial-sync.ts';
import { roomSendRoutes } from './routes/room-send.ts';
import { roomStateRoutes } from './routes/room-state.ts';
import { roomSummaryRoutes } from './routes/room-summary.ts';
import { roomUpgradesRoutes } from './routes/room-upgrades.ts';
import { roomsRoutes } from './routes/rooms.ts';
import { rootPageRoutes } from './routes/root-page.ts';
import { rtcTransportsRoutes } from './routes/rtc-transports.ts';
import { scimRoutes } from './routes/scim.ts';
import { searchRoutes } from './routes/search.ts';
import { serverNoticesRoutes } from './routes/server-notices.ts';
import { sharedSecretRegistrationRoutes } from './routes/shared-secret-registration.ts';
import { signInPageRoutes } from './routes/sign-in-page.ts';
import { slidingSyncRoutes } from './routes/sliding-sync.ts';
import { spaceHierarchyRoutes } from './routes/space-hierarchy.ts';
import { ssoRoutes } from './routes/sso.ts';
import { syncRoutes } from './routes/sync.ts';
import { tagsRoutes } from './routes/tags.ts';
import { termsPageRoutes } from './routes/terms-page.ts';
import { thirdPartyLookupRoutes } from './routes/third-party-lookup.ts';
import { threadSubscriptionsRoutes } from './routes/thread-subscriptions.ts';
import { threadsListRoutes } from './routes/threads-list.ts';
import { toDeviceRoutes } from './routes/to-device.ts';
import { typingRoutes } from './routes/typing.ts';
import { unsubscribePageRoutes } from './routes/unsubscribe-page.ts';
import { urlPreviewsRoutes } from './routes/url-previews.ts';
import { userMediaAdminRoutes } from './routes/user-media-admin.ts';
import { usersRoutes } from './routes/users.ts';
import { versionsRoutes } from './routes/versions.ts';
import { voipRoutes } from './routes/voip.ts';
import { wellknownClientRoutes } from './routes/wellknown.ts';
import { whoamiRoutes } from './routes/whoami.ts';
import type { Certificate } from './tls/certificate.ts';

type Routes = (app: FastifyInstance, ctx: ServerContext) => void;

const KIB = 1_024;
const MIB = 1_024 * KIB;
const CLIENT_BODY = 256 * KIB;
/** 50 events of 64 KiB and 100 EDUs, with room for how they are written. */
const FEDERATION_BODY = 13 * MIB;

const clientRoutes: readonly Routes[] = [
  banningRoutes,
  createRoomRoutes,
  delayedEventsRoutes,
  directoryRoutes,
  eventContextRoutes,
  invitingRoutes,
  joiningRoutes,
  kickingRoutes,
  knockingRoutes,
  listJoinedRoomsRoutes,
  listPublicRoomsRoutes,
  messagePaginationRoutes,
  oldSyncRoutes,
  peekingEventsRoutes,
  readMarkersRoutes,
  receiptsRoutes,
  redactionRoutes,
  relationsRoutes,
  rendezvousRoutes,
  reportContentRoutes,
  roomEventByTimestampRoutes,
  roomInitialSyncRoutes,
  roomSendRoutes,
  roomStateRoutes,
  roomSummaryRoutes,
  roomUpgradesRoutes,
  roomsRoutes,
  slidingSyncRoutes,
  spaceHierarchyRoutes,
  syncRoutes,
  tagsRoutes,
  termsPageRoutes,
  thirdPartyLookupRoutes,
  threadSubscriptionsRoutes,
  threadsListRoutes,
  typingRoutes,
  clientLeavingRoutes,
  accountDataRoutes,
  accountDeactivationRoutes,
  accountPagesRoutes,
  adminRoutes,
  administrativeContactRoutes,
  appservicePingRoutes,
  appserviceRoomDirectoryRoutes,
  authFallbackPageRoutes,
  capabilitiesRoutes,
  crossSigningRoutes,
  dehydratedDeviceRoutes,
  deviceManagementRoutes,
  emailConfirmationPageRoutes,
  unsubscribePageRoutes,
  filterRoutes,
  healthRoutes,
  keyBackupRoutes,
  keysRoutes,
  loginFallbackPageRoutes,
  loginRoutes,
  loginTokenRoutes,
  logoutRoutes,
  masRoutes,
  mediaAdminRoutes,
  mediaDownloadRoutes,
  mediaLegacyRoutes,
  mediaScannerRoutes,
  mediaUploadRoutes,
  mutualRoomsRoutes,
  oauthAuthorizationRoutes,
  oauthMetadataRoutes,
  oauthRegistrationRoutes,
  oauthTokenRoutes,
  oauthDeviceRoutes,
  oauthRevocationRoutes,
  openidTokenRoutes,
  passwordManagementRoutes,
  presenceRoutes,
  profileRoutes,
  notificationsRoutes,
  providerLogoutRoutes,
  providerNewcomerRoutes,
  providerSignInRoutes,
  pusherRoutes,
  pushRulesRoutes,
  refreshRoutes,
  registrationPageRoutes,
  registrationRoutes,
  requestTokenRoutes,
  rootPageRoutes,
  rtcTransportsRoutes,
  scimRoutes,
  searchRoutes,
  serverNoticesRoutes,
  sharedSecretRegistrationRoutes,
  ssoRoutes,
  signInPageRoutes,
  toDeviceRoutes,
  urlPreviewsRoutes,
  userMediaAdminRoutes,
  usersRoutes,
  versionsRoutes,
  voipRoutes,
  wellknownClientRoutes,
  wellknownRoutes,
  whoamiRoutes,
];

/** What anybody may ask without a signature: clients and services ask it at the address that they know. */
const openFederationRoutes: readonly Routes[] = [keysQueryRoutes, openidRoutes, versionRoutes];

/** What other servers may call. */
export const federationRoutes: readonly Routes[] = [
  backfillRoutes,
  eventAuthRoutes,
  eventsRoutes,
  healthRoutes,
  hierarchyRoutes,
  invitesRoutes,
  joinsRoutes,
  keysClaimRoutes,
  keysQueryRoutes,
  keysServerRoutes,
  knocksRoutes,
  leavingRoutes,
  mediaRoutes,
  publicRoomsRoutes,
  openidRoutes,
  queryRoutes,
  timestampToEventRoutes,
  roomPolicyRoutes,
  thirdPartyInvitesRoutes,
  transactionsRoutes,
  userDevicesRoutes,
  userKeysQueryRoutes,
  versionRoutes,
  wellknownRoutes,
];

/** What clients reach, by plain HTTP. */
export function buildClientApp(ctx: ServerContext): FastifyInstance {
  const app = createApp({ ...commonOptions(ctx), cors: true, bodyLimit: CLIENT_BODY });
  refuseLegacyLogin(app, ctx.config);
  for (const routes of [...clientRoutes, ...openFederationRoutes]) routes(app, ctx);
  return app;
}

/** What other servers reach, by HTTPS. */
export function buildFederationApp(ctx: ServerContext, tls: Certificate): FastifyInstance {
  const options = { ...commonOptions(ctx), cors: false, bodyLimit: FEDERATION_BODY, relaysEvents: true, tls };
  const app = createApp(options);
  app.decorateRequest('origin', '');
  app.addHook('onRequest', refuseStrangers(ctx));
  for (const routes of federationRoutes) routes(app, ctx);
  return app;
}

function commonOptions({
  log,
  config,
}: ServerContext): Pick<AppOptions, 'log' | 'trustedProxies' | 'logRequests'> {
  return { log, trustedProxies: config.trustedProxies, logRequests: config.logLevel === 'debug' };
}
