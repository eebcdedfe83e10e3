import type { Config } from './config-options.ts';
import { issuerOf } from './oauth/metadata.ts';
import { encryptsPreset } from './rooms/room-encryption.ts';

/**
 * What clients look for besides the versions of the specification. Those that end in `.stable` stand for what has come
 * into the specification since: older clients, and parts of newer ones, look for them and not for the version.
 */
const SERVED = [
  'fi.mau.msc2659',
  'fi.mau.msc2659.stable',
  'org.matrix.e2e_cross_signing',
  'org.matrix.msc2285.stable',
  'org.matrix.msc3030.stable',
  'org.matrix.msc3391',
  'org.matrix.msc3715.stable',
  'org.matrix.msc3814',
  'org.matrix.msc3827.stable',
  'org.matrix.msc3856.stable',
  'org.matrix.msc3874',
  'org.matrix.msc3881',
  'org.matrix.msc3916.stable',
  'org.matrix.msc4076',
  'org.matrix.msc4140',
  'org.matrix.msc4143',
  'org.matrix.msc4155',
  'org.matrix.msc4306',
  'org.matrix.msc4354',
  'org.matrix.msc4380.stable',
  'org.matrix.simplified_msc3575',
  'uk.half-shot.msc2666.query_mutual_rooms',
  'uk.half-shot.msc2666.query_mutual_rooms.stable',
  'uk.tcpip.msc4133.stable',
];

/** `unstable_features` of `GET /_matrix/client/versions`. */
export function unstableFeatures(config: Config): Readonly<Record<string, boolean>> {
  return {
    ...Object.fromEntries(SERVED.map((name) => [name, true])),
    'org.matrix.msc4028': config.pushAllEncrypted,
    // Signing in by a QR code ends in a device grant of OAuth.
    'io.element.msc4388': issuerOf(config) !== undefined,
    'org.matrix.msc4108': issuerOf(config) !== undefined,
    // By these Element knows that there is no choice to offer to who makes a room.
    'io.element.e2ee_forced.private': encryptsPreset(config, 'private_chat'),
    'io.element.e2ee_forced.public': encryptsPreset(config, 'public_chat'),
    'io.element.e2ee_forced.trusted_private': encryptsPreset(config, 'trusted_private_chat'),
  };
}
