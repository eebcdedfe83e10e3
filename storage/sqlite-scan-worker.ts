/** The thread behind `Database.scan`: one read at a time, on a connection of its own. */

import { parentPort, workerData } from 'node:worker_threads';
import { openReader } from './sqlite-connection.ts';
import type { ScanReply, ScanRequest } from './sqlite-scan.ts';

const { path } = workerData as { path: string };
const connection = openReader(path);

parentPort?.on('message', (request: ScanRequest) => parentPort?.postMessage(answer(request)));

function answer({ id, text, params }: ScanRequest): ScanReply {
  try {
    // Long reads are rare and long: preparing each anew costs nothing beside them.
    return { id, rows: connection.prepare<[readonly SqlParams[]], unknown>(text).all(params) };
  } catch (error) {
    // An error that crosses threads keeps its message only.
    const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
    return { id, message: error instanceof Error ? error.message : String(error), code };
  }
}

type SqlParams = ScanRequest['params'][number];
