/**
 * Which routes those may use who may not use all: users who are locked or suspended, and guests. A route that does not
 * stand here is refused to them, so a new one is until somebody has thought about it.
 *
 * Paths are those of the specification; what their parameters are called does not matter. Routes that need no access
 * token are open to everybody, whoever they are.
 */

import { guestAccessForbidden, type MatrixError, userLocked, userSuspended } from '#federation/errors.ts';

export interface Restrictions {
  readonly isLocked: boolean;
  readonly isSuspended: boolean;
  readonly isGuest: boolean;
}

const V1 = '/_matrix/client/v1';
const V3 = '/_matrix/client/v3';
const ROOM = `${V3}/rooms/{roomId}`;
const DEVICES = [`GET ${V3}/devices`, `GET ${V3}/devices/{deviceId}`, `PUT ${V3}/devices/{deviceId}`];
const LOGOUT = [`POST ${V3}/logout`, `POST ${V3}/logout/all`];

const SCANNER = '/_matrix/media_proxy/unstable';

const DOWNLOADS = [
  `GET ${V1}/media/download/{serverName}/{mediaId}`,
  `GET ${V1}/media/download/{serverName}/{mediaId}/{fileName}`,
  `GET ${V1}/media/thumbnail/{serverName}/{mediaId}`,
  `GET ${SCANNER}/download/{serverName}/{mediaId}`,
  `GET ${SCANNER}/thumbnail/{serverName}/{mediaId}`,
  `GET ${SCANNER}/scan/{serverName}/{mediaId}`,
  `POST ${SCANNER}/download_encrypted`,
  `POST ${SCANNER}/scan_encrypted`,
];

const SLIDING_SYNC = [
  'POST /_matrix/client/v4/sync',
  'POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync',
];

const ROOM_READS = [
  `GET ${ROOM}/state`,
  `GET ${ROOM}/context/{eventId}`,
  `GET ${ROOM}/event/{eventId}`,
  `GET ${ROOM}/state/{eventType}`,
  `GET ${ROOM}/state/{eventType}/{stateKey}`,
  `GET ${ROOM}/messages`,
  `GET ${ROOM}/members`,
  `GET ${ROOM}/initialSync`,
  `GET ${V3}/sync`,
  ...SLIDING_SYNC,
  `GET ${V3}/events`,
];

/** "servers MUST return a 401 ... on all but the following Client-Server APIs". */
const LOCKED = routes(LOGOUT);

/** The list of https://spec.matrix.org/v1.19/client-server-api/#guest-access, and how to end being one. */
const GUEST = routes(
  LOGOUT,
  ROOM_READS,
  DOWNLOADS,
  [
    `POST ${ROOM}/join`,
    // The same by another path, and the only one that clients call.
    `POST ${V3}/join/{roomIdOrAlias}`,
    `POST ${ROOM}/leave`,
    `PUT ${ROOM}/send/{eventType}/{txnId}`,
    `PUT ${ROOM}/state/{eventType}`,
    `PUT ${ROOM}/state/{eventType}/{stateKey}`,
    `PUT ${V3}/sendToDevice/{eventType}/{txnId}`,
  ],
  // Only the display name, which the route sees to.
  [`PUT ${V3}/profile/{userId}/{keyName}`, `DELETE ${V3}/profile/{userId}/{keyName}`],
  DEVICES,
  [`GET ${V3}/account/whoami`],
  [`POST ${V3}/keys/upload`, `POST ${V3}/keys/query`, `POST ${V3}/keys/claim`],
);

const DEHYDRATED = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device';

/**
 * "The actions a user can perform while suspended is deliberately left as an implementation detail": they read, they
 * keep their devices and their keys in order, they leave, and they go. Nothing here is seen by anybody else, but for
 * what they take back, and what they report.
 */
const SUSPENDED = routes(
  LOGOUT,
  ROOM_READS,
  DOWNLOADS,
  DEVICES,
  [
    `GET ${V1}/media/config`,
    `GET ${V1}/media/preview_url`,
    `GET ${V1}/mutual_rooms`,
    `GET ${V1}/rooms/{roomId}/hierarchy`,
    `GET ${V1}/rooms/{roomId}/relations/{eventId}`,
    `GET ${V1}/rooms/{roomId}/relations/{eventId}/{relType}`,
    `GET ${V1}/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}`,
    `GET ${V1}/rooms/{roomId}/threads`,
    `GET ${V1}/rooms/{roomId}/timestamp_to_event`,
    `GET ${ROOM}/aliases`,
    `GET ${ROOM}/joined_members`,
    `GET ${V3}/capabilities`,
    `GET ${V3}/events/{eventId}`,
    `GET ${V3}/initialSync`,
    `GET ${V3}/joined_rooms`,
    `GET ${V3}/notifications`,
    `GET ${V3}/presence/{userId}/status`,
    `POST ${V3}/publicRooms`,
    `POST ${V3}/search`,
    `POST ${V3}/user_directory/search`,
    `GET /_matrix/media/v3/config`,
    `GET /_matrix/media/v3/preview_url`,
    ...anyMethod(
      '/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{threadRootId}/subscription',
    ),
    'GET /_matrix/client/unstable/io.element.msc4308/thread_subscriptions',
  ],
  // The route sees to it that it is an event of their own.
  [`PUT ${ROOM}/redact/{eventId}/{txnId}`],
  [`POST ${ROOM}/leave`, `POST ${ROOM}/forget`],
  [`POST ${ROOM}/report`, `POST ${ROOM}/report/{eventId}`, `POST ${V3}/users/{userId}/report`],
  [
    `POST ${V1}/login/get_token`,
    `DELETE ${V3}/devices/{deviceId}`,
    `POST ${V3}/delete_devices`,
    `GET ${V3}/account/whoami`,
    `GET ${V3}/account/3pid`,
    `POST ${V3}/account/password`,
    `POST ${V3}/account/deactivate`,
    `GET ${V3}/admin/whois/{userId}`,
  ],
  [
    `GET ${V3}/keys/changes`,
    `POST ${V3}/keys/claim`,
    `POST ${V3}/keys/device_signing/upload`,
    `POST ${V3}/keys/query`,
    `POST ${V3}/keys/signatures/upload`,
    `POST ${V3}/keys/upload`,
    // To their own devices, which the route sees to.
    `PUT ${V3}/sendToDevice/{eventType}/{txnId}`,
    ...anyMethod(`${V3}/room_keys/keys`),
    ...anyMethod(`${V3}/room_keys/keys/{roomId}`),
    ...anyMethod(`${V3}/room_keys/keys/{roomId}/{sessionId}`),
    `GET ${V3}/room_keys/version`,
    `POST ${V3}/room_keys/version`,
    ...anyMethod(`${V3}/room_keys/version/{version}`),
    ...anyMethod(DEHYDRATED),
    `POST ${DEHYDRATED}/{deviceId}/events`,
    `GET ${DEHYDRATED}/{deviceId}/events`,
  ],
  [
    `POST ${ROOM}/read_markers`,
    `POST ${ROOM}/receipt/{receiptType}/{eventId}`,
    `GET ${V3}/pushers`,
    `POST ${V3}/pushers/set`,
    `POST ${V3}/pushers/ack`,
    `GET ${V3}/pushrules`,
    `GET ${V3}/pushrules/global`,
    ...anyMethod(`${V3}/pushrules/global/{kind}/{ruleId}`),
    ...anyMethod(`${V3}/pushrules/global/{kind}/{ruleId}/actions`),
    ...anyMethod(`${V3}/pushrules/global/{kind}/{ruleId}/enabled`),
    ...anyMethod(`${V3}/user/{userId}/account_data/{type}`),
    ...anyMethod(`${V3}/user/{userId}/rooms/{roomId}/account_data/{type}`),
    `GET ${V3}/user/{userId}/rooms/{roomId}/tags`,
    ...anyMethod(`${V3}/user/{userId}/rooms/{roomId}/tags/{tag}`),
    `POST ${V3}/user/{userId}/filter`,
    `GET ${V3}/user/{userId}/filter/{filterId}`,
  ],
);

/**
 * What those may do who have yet to accept the policies: as who is suspended, but that they take back nothing. What their
 * client does by itself while it starts goes on.
 */
const BEFORE_CONSENT = new Set([
  ...[...SUSPENDED].filter((route) => !route.includes('/redact/')),
  ...routes([
    `GET ${V3}/voip/turnServer`,
    `GET ${V3}/thirdparty/protocols`,
    `PUT ${V3}/presence/{userId}/status`,
    `GET ${V1}/rtc/transports`,
    `GET ${V3}/profile/{userId}`,
    `GET ${V3}/profile/{userId}/{keyName}`,
  ]),
]);

const JOINS = routes([`POST ${ROOM}/join`, `POST ${V3}/join/{roomIdOrAlias}`]);

/** True for a route that is open to those who have yet to accept the policies. */
export function isOpenWithoutConsent(method: string, url: string): boolean {
  return BEFORE_CONSENT.has(`${method} ${shapeOf(url)}`);
}

export function isRouteOfJoins(method: string, url: string): boolean {
  return JOINS.has(`${method} ${shapeOf(url)}`);
}

/** Why somebody may not use a route, or nothing. `url` is the pattern of the route. */
export function refusalOf(who: Restrictions, method: string, url: string): MatrixError | undefined {
  if (!who.isLocked && !who.isSuspended && !who.isGuest) return undefined;
  const route = `${method} ${shapeOf(url)}`;
  if (who.isLocked && !LOCKED.has(route)) return userLocked();
  if (who.isSuspended && !SUSPENDED.has(route)) return userSuspended();
  if (who.isGuest && !GUEST.has(route)) return guestAccessForbidden('Guests may not do this');
  return undefined;
}

/** All that stands in the tables, for the test that each is a route: `GET /_matrix/client/v3/devices/{}`. */
export function listedRoutes(): ReadonlySet<string> {
  return new Set([...LOCKED, ...GUEST, ...SUSPENDED, ...BEFORE_CONSENT]);
}

function anyMethod(path: string): string[] {
  return ['GET', 'PUT', 'POST', 'DELETE'].map((method) => `${method} ${path}`);
}

function routes(...groups: readonly (readonly string[])[]): ReadonlySet<string> {
  return new Set(groups.flat().map(shapeOf));
}

/** A path without the names of its parameters, and without the slash at its end. */
function shapeOf(path: string): string {
  return path.replaceAll(/:\w+|\{\w+\}/g, '{}').replace(/\/$/, '');
}
