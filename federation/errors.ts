/**
 * Matrix errors as HTTP answers: the one table of the whole server. Only routes throw them; everything below a
 * route answers with values.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
 * https://spec.matrix.org/v1.19/server-server-api/#unsupported-endpoints
 */

import type { JsonObject } from '#keys/json.ts';
import type { HandshakeFailure } from './handshakes/template.ts';

/** A refusal that a route throws and the error handler writes: `{errcode, error, ...extras}` with `status`. */
export class MatrixError extends Error {
  override readonly name = 'MatrixError';
  readonly status: number;
  readonly errcode: string;
  /** Further members of the answer's body, such as `retry_after_ms`. */
  readonly extras: JsonObject;
  /** Response headers that the specification asks for with this error. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    errcode: string,
    message: string,
    options: { extras?: JsonObject; headers?: Readonly<Record<string, string>>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.status = status;
    this.errcode = errcode;
    this.extras = options.extras ?? {};
    this.headers = options.headers ?? {};
  }

  /** The JSON body of the answer. */
  get body(): JsonObject {
    return { errcode: this.errcode, error: this.message, ...this.extras };
  }
}

/** 403 `M_FORBIDDEN`: not allowed to do this. */
export function forbidden(message = 'Forbidden'): MatrixError {
  return new MatrixError(403, 'M_FORBIDDEN', message);
}

/** 401 `M_FORBIDDEN`: the credentials of an interactive authentication stage were wrong. */
export function wrongCredentials(message: string, extras: JsonObject = {}): MatrixError {
  return new MatrixError(401, 'M_FORBIDDEN', message, { extras });
}

/** 401 `M_UNAUTHORIZED`: a federation request without a valid signature of its origin. */
export function unauthorized(message: string): MatrixError {
  return new MatrixError(401, 'M_UNAUTHORIZED', message);
}

/** 401 `M_UNKNOWN_TOKEN`: the access token is not known, or no longer. */
export function unknownToken(options: { softLogout?: boolean } = {}): MatrixError {
  return new MatrixError(401, 'M_UNKNOWN_TOKEN', 'Unknown access token', {
    extras: { soft_logout: options.softLogout ?? false },
  });
}

/** 401 `M_MISSING_TOKEN`: the request has no access token. */
export function missingToken(): MatrixError {
  return new MatrixError(401, 'M_MISSING_TOKEN', 'Missing access token');
}

/** 403 `M_USER_LOCKED` is a 401 that keeps the device: "the account has been locked". */
export function userLocked(): MatrixError {
  return new MatrixError(401, 'M_USER_LOCKED', 'This account has been locked', {
    extras: { soft_logout: true },
  });
}

/** 403 `M_USER_SUSPENDED`: a suspended account may do a few things only. */
export function userSuspended(): MatrixError {
  return new MatrixError(403, 'M_USER_SUSPENDED', 'This account has been suspended');
}

/** 403 `M_USER_DEACTIVATED`: the account is no more. */
export function userDeactivated(): MatrixError {
  return new MatrixError(403, 'M_USER_DEACTIVATED', 'This account has been deactivated');
}

/** 400 `M_BAD_JSON`: valid JSON of a wrong shape. */
export function badJson(message: string): MatrixError {
  return new MatrixError(400, 'M_BAD_JSON', message);
}

/** 400 `M_NOT_JSON`: not JSON at all. */
export function notJson(message = 'Content is not JSON'): MatrixError {
  return new MatrixError(400, 'M_NOT_JSON', message);
}

/** 404 `M_NOT_FOUND`: no such resource. */
export function notFound(message = 'Not found'): MatrixError {
  return new MatrixError(404, 'M_NOT_FOUND', message);
}

/** 404 `M_UNRECOGNIZED`: the endpoint is not served. */
export function unrecognized(): MatrixError {
  return new MatrixError(404, 'M_UNRECOGNIZED', 'Unrecognized request');
}

/** 404 `M_UNRECOGNIZED`: "The server is not a Policy Server." */
export function notPolicyServer(): MatrixError {
  return new MatrixError(404, 'M_UNRECOGNIZED', 'This server is not a policy server');
}

/** 405 `M_UNRECOGNIZED`: the endpoint is served, but not with this method. */
export function methodNotAllowed(): MatrixError {
  return new MatrixError(405, 'M_UNRECOGNIZED', 'Method not allowed');
}

/** 429 `M_LIMIT_EXCEEDED`; `retryAfterMs` in milliseconds, also as `Retry-After` in whole seconds. */
export function limitExceeded(retryAfterMs: number): MatrixError {
  return new MatrixError(429, 'M_LIMIT_EXCEEDED', 'Too many requests', {
    extras: { retry_after_ms: Math.ceil(retryAfterMs) },
    headers: { 'retry-after': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) },
  });
}

/** `M_UNKNOWN` with a status of the caller's choice. */
export function unknown(status: number, message: string, cause?: unknown): MatrixError {
  return new MatrixError(status, 'M_UNKNOWN', message, { cause });
}

/** 507 `M_UNKNOWN`: there is no space on a disk, until the operator makes some. */
export function insufficientStorage(message: string, cause: unknown): MatrixError {
  return new MatrixError(507, 'M_UNKNOWN', message, { cause, headers: { 'retry-after': '60' } });
}

/** 504 `M_UNKNOWN`: another server that we need for the answer could not be reached. */
export function unreachable(message: string): MatrixError {
  return new MatrixError(504, 'M_UNKNOWN', message);
}

/** 408 `M_UNKNOWN`: an application service that would know does not answer. */
export function requestTimeout(message: string): MatrixError {
  return new MatrixError(408, 'M_UNKNOWN', message);
}

/** 400 `M_UNKNOWN_DEVICE`: the device that an application service acts as is none of the user's. */
export function unknownDevice(): MatrixError {
  return new MatrixError(400, 'M_UNKNOWN_DEVICE', 'The user has no such device');
}

/** 400 `M_URL_NOT_SET`: an application service without an address cannot be pinged. */
export function urlNotSet(): MatrixError {
  return new MatrixError(400, 'M_URL_NOT_SET', "The application service doesn't have a URL configured");
}

/** Why an application service could not be pinged. */
export function pingFailed(
  failure:
    | { readonly kind: 'answered'; readonly status: number; readonly text: string }
    | { readonly kind: 'no_answer' | 'timeout'; readonly reason: string },
): MatrixError {
  switch (failure.kind) {
    case 'answered': {
      const extras = { status: failure.status, body: failure.text };
      return new MatrixError(502, 'M_BAD_STATUS', `Ping returned status ${failure.status}`, { extras });
    }
    case 'no_answer':
      return new MatrixError(502, 'M_CONNECTION_FAILED', failure.reason);
    case 'timeout':
      return new MatrixError(504, 'M_CONNECTION_TIMEOUT', 'Connection to application service timed out');
  }
}

/** 400 `M_MISSING_PARAM`: a required member or query parameter is absent. */
export function missingParam(name: string): MatrixError {
  return new MatrixError(400, 'M_MISSING_PARAM', `Missing parameter: ${name}`);
}

/** 400 `M_INVALID_PARAM`: a parameter has a value that it cannot have. */
export function invalidParam(message: string): MatrixError {
  return new MatrixError(400, 'M_INVALID_PARAM', message);
}

/** 413 `M_TOO_LARGE`: the request, or what it would make, is too large. */
export function tooLarge(message = 'Request is too large'): MatrixError {
  return new MatrixError(413, 'M_TOO_LARGE', message);
}

/** 400 `M_USER_IN_USE`: the user id is taken. */
export function userInUse(): MatrixError {
  return new MatrixError(400, 'M_USER_IN_USE', 'This user ID is already in use');
}

/** 400 `M_INVALID_SIGNATURE`: a signature does not hold. */
export function invalidSignature(message: string): MatrixError {
  return new MatrixError(400, 'M_INVALID_SIGNATURE', message);
}

/** 400 `M_INVALID_USERNAME`: not a user name that an account here may have. */
export function invalidUsername(message = 'Invalid user name'): MatrixError {
  return new MatrixError(400, 'M_INVALID_USERNAME', message);
}

/** 400 `M_WEAK_PASSWORD`. */
export function weakPassword(message: string): MatrixError {
  return new MatrixError(400, 'M_WEAK_PASSWORD', message);
}

/** 400 `M_ROOM_IN_USE`: the alias that a new room asks for is taken. */
export function roomInUse(message = 'Room alias already taken'): MatrixError {
  return new MatrixError(400, 'M_ROOM_IN_USE', message);
}

/** 400 `M_INVALID_ROOM_STATE`: the initial state asked for is not a valid one. */
export function invalidRoomState(message: string): MatrixError {
  return new MatrixError(400, 'M_INVALID_ROOM_STATE', message);
}

/** 400 `M_UNSUPPORTED_ROOM_VERSION`: a room version that this server, or another that is concerned, does not know. */
export function unsupportedRoomVersion(
  version: string,
  message = `Room version ${version} is not supported`,
): MatrixError {
  return new MatrixError(400, 'M_UNSUPPORTED_ROOM_VERSION', message);
}

/** 400 `M_INCOMPATIBLE_ROOM_VERSION`: the other server does not support `version`, the room's. */
export function incompatibleRoomVersion(version: string): MatrixError {
  return new MatrixError(
    400,
    'M_INCOMPATIBLE_ROOM_VERSION',
    'Your homeserver does not support the features required to join this room',
    { extras: { room_version: version } },
  );
}

/** 403 `M_INVITE_BLOCKED`: the user takes no invitations. */
export function inviteBlocked(message = 'The user takes no invitations'): MatrixError {
  return new MatrixError(403, 'M_INVITE_BLOCKED', message);
}

/** Why a handshake with other servers, or what stands for one among our own users, came to nothing. */
export function handshakeRefused(failure: HandshakeFailure): MatrixError {
  switch (failure.kind) {
    case 'forbidden':
      return forbidden(failure.reason);
    case 'not_found':
      return notFound(failure.reason);
    case 'invite_blocked':
      return inviteBlocked(failure.reason);
    case 'incompatible':
      return incompatibleRoomVersion(failure.roomVersion);
    case 'unreachable':
      return unreachable(failure.reason);
  }
}

/** 400 `M_BAD_STATE`: the change does not fit the present state, such as unbanning one who is not banned. */
export function badState(message: string): MatrixError {
  return new MatrixError(400, 'M_BAD_STATE', message);
}

/** 400 `M_BAD_ALIAS`: an alias does not point to the room that it is set in. */
export function badAlias(message: string): MatrixError {
  return new MatrixError(400, 'M_BAD_ALIAS', message);
}

/** 400 `M_DUPLICATE_ANNOTATION`: the same reaction by the same user a second time. */
export function duplicateAnnotation(): MatrixError {
  return new MatrixError(400, 'M_DUPLICATE_ANNOTATION', 'You have already reacted with this key');
}

/** 400 `M_UNABLE_TO_AUTHORISE_JOIN`: "cannot validate any of the conditions of a restricted room". */
export function unableToAuthoriseJoin(
  message = 'This server cannot check the conditions of the room',
): MatrixError {
  return new MatrixError(400, 'M_UNABLE_TO_AUTHORISE_JOIN', message);
}

/** 400 `M_UNABLE_TO_GRANT_JOIN`: "a different server should be attempted for the join". */
export function unableToGrantJoin(message = 'No user of this server may invite to the room'): MatrixError {
  return new MatrixError(400, 'M_UNABLE_TO_GRANT_JOIN', message);
}

/** 403 `M_GUEST_ACCESS_FORBIDDEN`. */
export function guestAccessForbidden(message = 'Guest access is disabled'): MatrixError {
  return new MatrixError(403, 'M_GUEST_ACCESS_FORBIDDEN', message);
}

/** 400 `M_EXCLUSIVE`: the name is reserved by an application service. */
export function exclusive(message: string): MatrixError {
  return new MatrixError(400, 'M_EXCLUSIVE', message);
}

/** 400 `M_APPSERVICE_LOGIN_UNSUPPORTED`: an application service would sign in a user of its own. */
export function appserviceLoginUnsupported(): MatrixError {
  const message = 'Application services sign nobody in here: act by the as_token, and set inhibit_login';
  return new MatrixError(400, 'M_APPSERVICE_LOGIN_UNSUPPORTED', message);
}

/** 403 `M_CANNOT_LEAVE_SERVER_NOTICE_ROOM`. */
export function cannotLeaveServerNoticeRoom(): MatrixError {
  return new MatrixError(403, 'M_CANNOT_LEAVE_SERVER_NOTICE_ROOM', 'This room cannot be left');
}

/** 403 `M_THREEPID_DENIED`: this server does not take third-party identifiers of this kind. */
export function threepidDenied(message: string): MatrixError {
  return new MatrixError(403, 'M_THREEPID_DENIED', message);
}

/** 400 `M_THREEPID_IN_USE`: the identifier belongs to another account. */
export function threepidInUse(): MatrixError {
  return new MatrixError(400, 'M_THREEPID_IN_USE', 'This address belongs to another account');
}

/** 403 `M_THREEPID_AUTH_FAILED`: nobody has proved that the identifier is theirs. */
export function threepidAuthFailed(status: 401 | 403 = 403): MatrixError {
  return new MatrixError(status, 'M_THREEPID_AUTH_FAILED', 'The address was not confirmed, or too long ago');
}

/** 400 `M_THREEPID_MEDIUM_NOT_SUPPORTED`: this server takes no identifiers of this kind. */
export function threepidMediumNotSupported(message: string): MatrixError {
  return new MatrixError(400, 'M_THREEPID_MEDIUM_NOT_SUPPORTED', message);
}

/** 400 `M_EXPIRED_ACTIVATION_TOKEN` (MSC4174): what an app was sent to activate its pusher is too old. */
export function expiredActivationToken(): MatrixError {
  return new MatrixError(400, 'M_EXPIRED_ACTIVATION_TOKEN', 'ack_token is too old: set the pusher again');
}

/** 400 `M_UNKNOWN_ACTIVATION_TOKEN` (MSC4174): it was not sent to an app with this id. */
export function unknownActivationToken(): MatrixError {
  return new MatrixError(400, 'M_UNKNOWN_ACTIVATION_TOKEN', 'ack_token is not known');
}

/** 400 `M_SERVER_NOT_TRUSTED`: an identity server that this server has nothing to do with. */
export function serverNotTrusted(message: string): MatrixError {
  return new MatrixError(400, 'M_SERVER_NOT_TRUSTED', message);
}

/** What an identity server said of a request that we made for a client. */
export function identityRefused(status: 400 | 403 | 404, errcode: string, message: string): MatrixError {
  return new MatrixError(status, errcode, message);
}

/** 403 `M_CONSENT_NOT_GIVEN`, which Synapse began and clients know: policies are to be accepted at `consentUri` first. */
export function consentNotGiven(consentUri: string): MatrixError {
  return new MatrixError(
    403,
    'M_CONSENT_NOT_GIVEN',
    `Accept the policies of this server first: ${consentUri}`,
    {
      extras: { consent_uri: consentUri },
    },
  );
}

/** 400 `M_RESOURCE_LIMIT_EXCEEDED` as 403: a limit of the whole server was reached. */
export function resourceLimitExceeded(message: string, adminContact: string): MatrixError {
  return new MatrixError(403, 'M_RESOURCE_LIMIT_EXCEEDED', message, {
    extras: { admin_contact: adminContact },
  });
}

/** 403 `M_WRONG_ROOM_KEYS_VERSION`: keys for another backup version than the current one. */
export function wrongRoomKeysVersion(currentVersion: string): MatrixError {
  return new MatrixError(403, 'M_WRONG_ROOM_KEYS_VERSION', 'Wrong backup version', {
    extras: { current_version: currentVersion },
  });
}

/** 504 `M_NOT_YET_UPLOADED`: the media is reserved, but its content is not here yet. */
export function notYetUploaded(): MatrixError {
  return new MatrixError(504, 'M_NOT_YET_UPLOADED', 'Media has not been uploaded yet');
}

/** 409 `M_CANNOT_OVERWRITE_MEDIA`. */
export function cannotOverwriteMedia(): MatrixError {
  return new MatrixError(409, 'M_CANNOT_OVERWRITE_MEDIA', 'Media has already been uploaded');
}

/** 400 `M_KEY_TOO_LARGE`: a profile field's name is over 255 bytes. */
export function keyTooLarge(): MatrixError {
  return new MatrixError(400, 'M_KEY_TOO_LARGE', 'Profile field name is too long');
}

/** 400 `M_PROFILE_TOO_LARGE`: "the profile exceeds 64 KiB". */
export function profileTooLarge(): MatrixError {
  return new MatrixError(400, 'M_PROFILE_TOO_LARGE', 'Profile is too large');
}
