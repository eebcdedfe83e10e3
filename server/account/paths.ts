/** The addresses of the pages of an account. */

export const ACCOUNT = '/account';
export const PROFILE = `${ACCOUNT}/profile`;
export const DEVICES = `${ACCOUNT}/devices`;
export const DEVICE = `${ACCOUNT}/devices/view`;
export const DEVICE_SIGN_OUT = `${ACCOUNT}/devices/sign-out`;
export const PASSWORD = `${ACCOUNT}/password`;
export const EMAILS = `${ACCOUNT}/emails`;
export const SECOND_STEP = `${ACCOUNT}/second-step`;
export const LANGUAGE = `${ACCOUNT}/language`;
export const CROSS_SIGNING_RESET = `${ACCOUNT}/cross-signing-reset`;
export const DEACTIVATE = `${ACCOUNT}/deactivate`;

/**
 * What clients ask for by `action`, with the names of before it was in the specification:
 * https://spec.matrix.org/v1.19/client-server-api/#oauth-20-account-management
 */
const ACTIONS: ReadonlyMap<string, string> = new Map([
  ['org.matrix.profile', PROFILE],
  ['profile', PROFILE],
  ['org.matrix.devices_list', DEVICES],
  ['org.matrix.sessions_list', DEVICES],
  ['sessions_list', DEVICES],
  ['org.matrix.device_view', DEVICE],
  ['org.matrix.session_view', DEVICE],
  ['session_view', DEVICE],
  ['org.matrix.device_delete', DEVICE_SIGN_OUT],
  ['org.matrix.session_end', DEVICE_SIGN_OUT],
  ['session_end', DEVICE_SIGN_OUT],
  ['org.matrix.account_deactivate', DEACTIVATE],
  ['org.matrix.cross_signing_reset', CROSS_SIGNING_RESET],
]);

/** The page of an action; undefined for one that is not known. */
export function pathOfAction(action: string, deviceId: string): string | undefined {
  const path = ACTIONS.get(action);
  return path === DEVICE || path === DEVICE_SIGN_OUT ? withDevice(path, deviceId) : path;
}

export function withDevice(path: string, deviceId: string): string {
  return `${path}?device_id=${encodeURIComponent(deviceId)}`;
}
