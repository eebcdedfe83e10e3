import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Blocks of ports below those that systems hand out by themselves (from 32,768 on Linux, 49,152 elsewhere), above the
 * known ones.
 */
const [FIRST, PER_BLOCK, BLOCKS] = [12_288, 256, 80];

let block: Promise<number> | undefined;
let asked = 0;

/**
 * A port of loopback that nobody uses now, and that stays its asker's, also while a server that listened on it is
 * stopped: the system hands out none of these for a listener on port 0 or for a connection, and test processes beside
 * us have other ones. It comes round again after some 250 others.
 */
export async function freePort(): Promise<number> {
  block ??= takeBlock();
  const first = await block;
  for (let tried = 1; tried < PER_BLOCK; tried++) {
    const port = first + 1 + (asked++ % (PER_BLOCK - 1));
    const server = await listenOn(port);
    if (server === undefined) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
  throw new Error(`no port from ${first} on is free`);
}

/** Takes a block for as long as this process runs: it is of whoever listens on its first port, which it answers. */
async function takeBlock(): Promise<number> {
  for (let tried = 0; tried < BLOCKS; tried++) {
    const first = FIRST + ((process.pid + tried) % BLOCKS) * PER_BLOCK;
    const holder = await listenOn(first);
    if (holder === undefined) continue;
    holder.unref();
    return first;
  }
  throw new Error('no block of ports is free');
}

/** Nothing where somebody else listens there. */
async function listenOn(port: number): Promise<ReturnType<typeof createServer> | undefined> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return server;
  } catch {
    return undefined;
  }
}
