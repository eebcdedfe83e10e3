import type { ServerName } from '#keys/ids.ts';

/** "they can have at most 50 PDUs and 100 EDUs": https://spec.matrix.org/v1.19/server-server-api/#transactions */
export const MAX_PDUS = 50;
export const MAX_EDUS = 100;

/** The canonical JSON of a transaction; `pdus` and `edus` are canonical JSON already. */
export function transactionBody(options: {
  readonly origin: ServerName;
  /** Milliseconds since 1970. */
  readonly originServerTs: number;
  readonly pdus: readonly string[];
  readonly edus: readonly string[];
}): string {
  const { origin, originServerTs, pdus, edus } = options;
  const head = `{"edus":[${edus.join(',')}],"origin":${JSON.stringify(origin)}`;
  return `${head},"origin_server_ts":${originServerTs},"pdus":[${pdus.join(',')}]}`;
}
