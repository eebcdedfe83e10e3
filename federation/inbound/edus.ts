/**
 * What other servers tell beside events: https://spec.matrix.org/v1.19/server-server-api/#edus
 *
 * Only of their own users, only where these take part; anything else is passed over without a word.
 */

import type { ServerName } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, objectAt, stringAt } from '#keys/json.ts';
import { receiveDeviceListUpdate } from './device-lists.ts';
import type { EduContext, ReceiveEdu } from './edu-source.ts';
import { receivePresence } from './presence.ts';
import { receiveReceipts } from './receipts.ts';
import { receiveSigningKeyUpdate } from './signing-keys.ts';
import { receiveToDevice } from './to-device.ts';
import { receiveTyping } from './typing.ts';

/** Besides `m.direct_to_device`. EDUs of other types are not for us. */
const receivers: ReadonlyMap<string, ReceiveEdu> = new Map([
  ['m.presence', receivePresence],
  ['m.device_list_update', receiveDeviceListUpdate],
  ['m.receipt', receiveReceipts],
  ['m.signing_key_update', receiveSigningKeyUpdate],
  ['m.typing', receiveTyping],
]);

/** What holds only the newest state: whether it comes once or twice makes no difference. */
const MOMENTARY: ReadonlySet<string> = new Set(['m.presence', 'm.receipt', 'm.typing']);

/** True for what a transaction need not be remembered for. */
export function isMomentary(edu: Json): boolean {
  return isObject(edu) && MOMENTARY.has(stringAt(edu, 'edu_type') ?? '');
}

/** Takes in the EDUs of one transaction, in order; messages to devices, which are many, in one write. */
export async function receiveEdus(ctx: EduContext, origin: ServerName, edus: readonly Json[]): Promise<void> {
  const toDevice: JsonObject[] = [];
  for (const edu of edus) {
    const content = isObject(edu) ? objectAt(edu, 'content') : undefined;
    if (!isObject(edu) || content === undefined) continue;
    const type = stringAt(edu, 'edu_type') ?? '';
    if (type === 'm.direct_to_device') toDevice.push(content);
    // In order: of two that say different things the later counts.
    else await receivers.get(type)?.(ctx, origin, content);
  }
  await receiveToDevice(ctx, origin, toDevice);
}
