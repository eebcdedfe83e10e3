/** `m.federate` of the create event: https://spec.matrix.org/v1.19/client-server-api/#mroomcreate */

import { type ServerName, serverNameOf } from '#keys/ids.ts';
import { type JsonObject, own } from '#keys/json.ts';
import type { Event } from '../event.ts';

/** What is said to who would bring one in. */
export const NOT_FEDERATED = 'Users of other servers cannot be in a room that is not federated';

/** "Whether users on other servers can join this room. Defaults to `true` if key does not exist." */
export function isFederated(createContent: JsonObject): boolean {
  return own(createContent, 'm.federate') !== false;
}

/** True where the users of a server may be in the room of the create event. */
export function admitsServer({ content, sender }: Event, server: ServerName | undefined): boolean {
  return isFederated(content) || serverNameOf(sender) === server;
}
