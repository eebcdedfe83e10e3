/** A push gateway as a process: takes everything, and says when asked how much that was. */

import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export interface Told {
  readonly notifications: number;
  /** By event and pushkey. */
  readonly different: number;
}

const different = new Set<string>();
let notifications = 0;
const { GATEWAY_KEY: key = '', GATEWAY_CERT: cert = '' } = process.env;
const server = createServer({ key, cert }, async (incoming, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const { notification } = JSON.parse(Buffer.concat(chunks).toString()) as {
    notification: { event_id?: string; devices: { pushkey: string }[] };
  };
  const { event_id: eventId, devices } = notification;
  if (eventId !== undefined) {
    notifications += 1;
    different.add(`${eventId} ${devices[0]?.pushkey}`);
  }
  response.setHeader('content-type', 'application/json');
  response.end('{"rejected":[]}');
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('message', () => process.send?.({ notifications, different: different.size } satisfies Told));
process.on('disconnect', () => process.exit());
