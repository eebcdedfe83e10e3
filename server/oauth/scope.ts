/** https://spec.matrix.org/v1.19/client-server-api/#scope */

/** As clients of before Matrix 1.15 write it, Element X among them, and as the specification has it. */
const API = ['urn:matrix:client:api:*', 'urn:matrix:org.matrix.msc2967.client:api:*'];
const DEVICE = /^urn:matrix:(?:org\.matrix\.msc2967\.)?client:device:(.*)$/;
/** RFC 6749, 3.3: `%x21 / %x23-5B / %x5D-7E` */
const TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
const MAX_SCOPE = 2_048;
/** More than any client makes up, and less than what the database takes for one. */
const MAX_DEVICE_ID = 255;

/** What of a scope is granted, and for which device. */
export interface Grant {
  readonly scope: string;
  readonly deviceId: string;
}

/** What a client asks for, without what this server does not know; or why it cannot have it. */
export function parseScope(scope: string): Grant | { readonly fault: string } {
  if (scope.length > MAX_SCOPE) return { fault: 'The scope is too long' };
  const tokens = [...new Set(scope.split(' ').filter((token) => token !== ''))];
  if (!tokens.every((token) => TOKEN.test(token)))
    return { fault: 'The scope has a character that is in none' };
  const devices = tokens.flatMap((token) => DEVICE.exec(token)?.slice(1) ?? []);
  const [deviceId] = devices;
  // "There MUST be exactly one urn:matrix:client:device:<device_id> token in the requested scope".
  if (deviceId === undefined || devices.some((other) => other !== deviceId)) {
    return { fault: 'The scope must have exactly one urn:matrix:client:device:<device_id>' };
  }
  if (deviceId === '' || deviceId.length > MAX_DEVICE_ID)
    return { fault: 'The device ID is empty or too long' };
  if (!tokens.some((token) => API.includes(token))) {
    return { fault: 'The scope must have urn:matrix:client:api:*' };
  }
  const granted = tokens.filter((token) => API.includes(token) || DEVICE.test(token));
  return { scope: granted.join(' '), deviceId };
}

/** The device of a scope that was granted. */
export function deviceOfScope(scope: string): string {
  const grant = parseScope(scope);
  if ('fault' in grant) throw new Error(`a scope was granted that is none: ${grant.fault}`);
  return grant.deviceId;
}
