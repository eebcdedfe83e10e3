/** Does a deed on a prepared database, and dies at the point of the number given, with no chance to end well. */

import { withFaultPoints } from '#test/harness/faults.ts';
import { openRooms } from '#test/harness/rooms.ts';
import { DEEDS } from './deeds.ts';

const [folder = '', name = '', number = ''] = process.argv.slice(2);
let reached = 0;
const dieAt = () => {
  reached += 1;
  if (reached === Number(number)) process.kill(process.pid, 'SIGKILL');
};
const server = await openRooms({ folder, watch: (db) => withFaultPoints(db, dieAt) });
await DEEDS[name]?.act(server.ctx);
await server[Symbol.asyncDispose]();
