/** The options about scanning for malware. Part of the table of `config-options.ts`. */

import { type ScannerAddress, scannerKind } from '../scanning/scanner-address.ts';
import { choiceKind, durationKind, integerKind, listKind, type Option, sizeKind } from './config-types.ts';

const failures = ['closed', 'open'] as const;

export interface ScanConfig {
  readonly scanner: ScannerAddress | undefined;
  /** Whether what the scanner does not look at is let through (`open`). */
  readonly scannerFailure: (typeof failures)[number];
  /** In milliseconds. */
  readonly scannerTimeout: number;
  /** In bytes. */
  readonly scannerMaxSize: number;
  readonly scannerAtOnce: number;
  /** Types such as `image/png` or `image/*`; all where there are none. */
  readonly scannerAllowedTypes: readonly string[];
  readonly scannerForbiddenTypes: readonly string[];
  /** Paths of PEM files. */
  readonly scannerCa: readonly string[];
}

export const scanOptions: { readonly [Name in keyof ScanConfig]: Option<NonNullable<ScanConfig[Name]>> } = {
  scanner: {
    key: 'scanner',
    kind: scannerKind,
    default: undefined,
    describes:
      'The scanner for malware that looks at every file before anybody gets it: the daemon of ClamAV, by its socket ' +
      '(`clamd:/run/clamav/clamd.ctl`) or its port (`clamd://127.0.0.1:3310`), or any scanner that speaks ICAP ' +
      '(`icap://av.example.org/avscan`; `icaps:` for TLS). See [scanning](scanning.md).',
  },
  scannerFailure: {
    key: 'scanner_failure',
    kind: choiceKind(failures),
    default: 'closed',
    describes:
      'What becomes of files while the scanner does not answer, or where it does not take them: `closed` refuses ' +
      'uploads and withholds what was never scanned; `open` lets them through, and has them scanned later.',
  },
  scannerTimeout: {
    key: 'scanner_timeout',
    kind: durationKind,
    default: 60_000,
    describes: 'How long the scanner may take for one file.',
  },
  scannerMaxSize: {
    key: 'scanner_max_size',
    kind: sizeKind,
    default: 100 * 1_024 ** 2,
    describes:
      'The largest file that the scanner is given; larger ones are dealt with as `scanner_failure` says. The scanner ' +
      'has a limit of its own (`StreamMaxLength` of clamd), which should not be smaller than `max_upload_size` and ' +
      '`max_remote_media_size`.',
  },
  scannerAtOnce: {
    key: 'scanner_at_once',
    kind: integerKind(1, 64),
    default: 4,
    describes:
      'How many files the scanner is given at once. It should be no more than the scanner has threads.',
  },
  scannerAllowedTypes: {
    key: 'scanner_allowed_types',
    kind: listKind('types of files'),
    default: [],
    describes:
      'The only types of files that the API of scanners gives to clients, such as `image/*` and `application/pdf`, by ' +
      'what is in them; all types unless given. See [scanning](scanning.md#types-of-files). In the environment several ' +
      'are divided by commas.',
  },
  scannerForbiddenTypes: {
    key: 'scanner_forbidden_types',
    kind: listKind('types of files'),
    default: [],
    describes: 'As `scanner_allowed_types`: types that it does not give to clients.',
  },
  scannerCa: {
    key: 'scanner_ca',
    kind: listKind('paths of PEM files'),
    default: [],
    describes:
      'Certificates that may have signed that of a scanner behind `icaps:`, besides those that this system trusts. In ' +
      'the environment several are divided by commas.',
  },
};

/** The values of these options. */
export function scanConfig(
  read: <T>(option: Option<T>) => T | undefined,
  required: <T>(option: Option<T>) => T,
): ScanConfig {
  return {
    scanner: read(scanOptions.scanner),
    scannerFailure: required(scanOptions.scannerFailure),
    scannerTimeout: required(scanOptions.scannerTimeout),
    scannerMaxSize: required(scanOptions.scannerMaxSize),
    scannerAtOnce: required(scanOptions.scannerAtOnce),
    scannerAllowedTypes: required(scanOptions.scannerAllowedTypes),
    scannerForbiddenTypes: required(scanOptions.scannerForbiddenTypes),
    scannerCa: required(scanOptions.scannerCa),
  };
}
