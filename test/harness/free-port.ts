import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ports that systems hand out by themselves (from 32,768 on Linux, 49,152 elsewhere), above the known ones. */
const [FIRST, PER_PROCESS, PROCESSES] = [12_288, 64, 320];

let asked = 0;

/**
 * A port of loopback that nobody uses now, and that nobody is given before its asker listens on it: the system hands
 * out none of these for a listener on port 0 or for a connection, and test processes beside us have other ones.
 */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < PER_PROCESS; tried++) {
    const port = FIRST + (process.pid % PROCESSES) * PER_PROCESS + (asked++ % PER_PROCESS);
    if (await isFree(port)) return port;
  }
  throw new Error(`no port is free for process ${process.pid}`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
