import type { Config } from '../config-options.ts';
import { configuredRoots } from '../tls/certificate.ts';
import { Clamd } from './clamd.ts';
import { EncryptedScanner } from './encrypted-scanner.ts';
import type { ScanEngine } from './engine.ts';
import { FileScanner, type FileScannerContext } from './file-scanner.ts';
import { Icap } from './icap.ts';
import { RequestKey } from './request-key.ts';
import { ScanQueue } from './scan-queue.ts';
import { type ScannerAddress, scannerKind } from './scanner-address.ts';

/** What scans for malware. */
export interface Scanning {
  /** Where the scanner is, as an operator writes it. */
  readonly address: string;
  readonly queue: ScanQueue;
  readonly files: FileScanner;
  readonly encrypted: EncryptedScanner;
  readonly requestKey: RequestKey;
}

/**
 * Undefined where no scanner is configured.
 *
 * @throws ConfigError for certificates, or a key in the data folder, that cannot be read
 */
export async function openScanning(
  ctx: FileScannerContext,
  config: Config,
  stopping: AbortSignal,
): Promise<Scanning | undefined> {
  const { scanner, scannerFailure, scannerTimeout: timeoutMs, scannerMaxSize: maxBytes } = config;
  if (scanner === undefined) return undefined;
  const engine = engineAt(scanner, await configuredRoots(config.scannerCa, 'scanner_ca'));
  const queue = new ScanQueue(ctx, { engine, maxBytes, timeoutMs, atOnce: config.scannerAtOnce, stopping });
  const failing = { failsOpen: scannerFailure === 'open' };
  return {
    queue,
    files: new FileScanner(ctx, queue, failing),
    encrypted: new EncryptedScanner(queue, failing),
    address: scannerKind.format(scanner),
    requestKey: await RequestKey.open(config.dataDir),
  };
}

function engineAt(address: ScannerAddress, ca: string | undefined): ScanEngine {
  return address.protocol === 'clamd' ? new Clamd(address) : new Icap({ ...address, ca });
}
