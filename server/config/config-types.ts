/** The kinds of values that options have, whether they come from the YAML file or from the environment. */

import { isIP } from 'node:net';
import { parseServerName, type ServerName } from '#keys/ids.ts';

/** How values of one kind are read: undefined for what is not such a value. */
export interface ValueKind<T> {
  /** Completes "use ...": what an operator may write. */
  readonly expects: string;
  readonly parse: (value: unknown) => T | undefined;
  /** The value as an operator would write it, for the reference page. */
  readonly format: (value: T) => string;
}

export interface Option<T> {
  /** In the YAML file; the environment's name is `KURIR_` and this in capitals. */
  readonly key: string;
  readonly kind: ValueKind<T>;
  readonly default: T | undefined;
  /** What it does, for the reference page. */
  readonly describes: string;
  /** True for a value that is never shown. */
  readonly secret?: true;
}

/** Where a listener listens. Port 0 asks the operating system for a free one. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export const serverNameKind: ValueKind<ServerName> = {
  expects: 'a server name such as example.org',
  parse: (value) => {
    if (typeof value !== 'string' || parseServerName(value) === undefined) return undefined;
    return value.toLowerCase();
  },
  format: (value) => value,
};

/** Text that is not empty. */
export function textKind(expects: string): ValueKind<string> {
  return {
    expects,
    parse: (value) => (typeof value === 'string' && value.trim() !== '' ? value : undefined),
    format: (value) => value,
  };
}

/** A secret that others must not guess. */
export function secretKind(least: number): ValueKind<string> {
  return {
    expects: `a secret of ${least} characters or more`,
    parse: (value) => (typeof value === 'string' && value.trim().length >= least ? value : undefined),
    format: (value) => value,
  };
}

/** Several texts, each of which `isItem`: a list in the file, divided by commas in the environment. */
export function listKind(
  expects: string,
  isItem: (text: string) => boolean = () => true,
): ValueKind<readonly string[]> {
  return {
    expects,
    parse: (value) => {
      const parts = typeof value === 'string' ? value.split(',') : value;
      if (!Array.isArray(parts)) return undefined;
      const texts = parts.map((part) => (typeof part === 'string' ? part.trim() : ''));
      return texts.every((text) => text !== '' && isItem(text)) ? texts : undefined;
    },
    format: (value) => value.join(','),
  };
}

/** True for an IP address, or a network such as 10.0.0.0/8. */
export function isNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
}

export const listenKind: ValueKind<ListenAddress> = {
  expects: 'host:port, such as 127.0.0.1:8008 or [::1]:8008; the host 0.0.0.0 listens on every address',
  parse: (value) => {
    if (typeof value !== 'string') return undefined;
    const match = /^(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(value);
    const host = match?.[1] ?? match?.[2];
    const port = Number(match?.[3]);
    return host !== undefined && port <= 65535 ? { host, port } : undefined;
  },
  format: ({ host, port }) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`),
};

const FLAGS: ReadonlyMap<unknown, boolean> = new Map<unknown, boolean>([
  [true, true],
  ['true', true],
  ['on', true],
  ['yes', true],
  ['1', true],
  [false, false],
  ['false', false],
  ['off', false],
  ['no', false],
  ['0', false],
]);

export const flagKind: ValueKind<boolean> = {
  expects: 'on or off',
  parse: (value) => FLAGS.get(value),
  format: (value) => (value ? 'on' : 'off'),
};

const SIZE_UNITS = ['B', 'K', 'M', 'G', 'T'] as const;

/** A number of bytes, such as `50M`: the units are 1,024 of the one before. */
export const sizeKind: ValueKind<number> = {
  expects: 'a size such as 500K, 50M or 10G',
  parse: (value) => {
    const [, digits, unit = 'B'] = /^(\d{1,9})([BKMGT]?)B?$/.exec(String(value).toUpperCase()) ?? [];
    const power = SIZE_UNITS.findIndex((name) => name === (unit === '' ? 'B' : unit));
    const bytes = Number(digits) * 1_024 ** power;
    return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
  },
  format: (bytes) => {
    const power = SIZE_UNITS.findLastIndex((_, index) => bytes % 1_024 ** index === 0);
    return `${bytes / 1_024 ** power}${power === 0 ? '' : SIZE_UNITS[power]}`;
  },
};

const DURATION_UNITS = [
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
] as const;

/** A time in milliseconds, written such as `90s`, `5m`, `1h` or `30d`. */
export const durationKind: ValueKind<number> = {
  expects: 'a time such as 90s, 5m, 1h or 30d',
  parse: (value) => {
    const [, digits, unit] = /^(\d{1,5})([smhd])$/.exec(String(value)) ?? [];
    const [, ms = 0] = DURATION_UNITS.find(([name]) => name === unit) ?? [];
    const time = Number(digits) * ms;
    return time > 0 ? time : undefined;
  },
  format: (value) => {
    const [name, ms] = DURATION_UNITS.findLast(([, unit]) => value % unit === 0) ?? DURATION_UNITS[0];
    return `${Math.round(value / ms)}${name}`;
  },
};

/** A time in milliseconds, or 0, written `off`. */
export const durationOrOffKind: ValueKind<number> = {
  expects: `${durationKind.expects}, or off`,
  parse: (value) => (FLAGS.get(value) === false ? 0 : durationKind.parse(value)),
  format: (value) => (value === 0 ? 'off' : durationKind.format(value)),
};

/** One of a few words. */
export function choiceKind<T extends string>(choices: readonly T[]): ValueKind<T> {
  return {
    expects: choices.length === 1 ? String(choices[0]) : oneOf(choices),
    parse: (value) => choices.find((choice) => choice === value),
    format: (value) => value,
  };
}

/** One of the versions, which YAML takes for a number where it is not quoted. */
export function versionKind(versions: readonly string[]): ValueKind<string> {
  const { parse, ...kind } = choiceKind(versions);
  return { ...kind, parse: (value) => parse(typeof value === 'number' ? String(value) : value) };
}

/** A whole number between two, both included. */
export function integerKind(least: number, most: number): ValueKind<number> {
  return {
    expects: `a number from ${least} to ${most}`,
    parse: (value) => {
      const number = /^\d{1,9}$/.test(String(value)) ? Number(value) : Number.NaN;
      return number >= least && number <= most ? number : undefined;
    },
    format: String,
  };
}

/** An http or https address, without a slash at its end. */
export const baseUrlKind: ValueKind<string> = {
  expects: 'an address such as https://matrix.example.org',
  parse: (value) => {
    if (typeof value !== 'string' || !/^https?:\/\//.test(value) || !URL.canParse(value)) return undefined;
    const url = new URL(value);
    if (url.search !== '' || url.hash !== '' || url.username !== '') return undefined;
    return value.replace(/\/+$/, '');
  },
  format: (value) => value,
};

/** The http or https address of a page. */
export const pageKind: ValueKind<string> = {
  expects: 'the address of a page such as https://example.org/help',
  parse: (value) => {
    if (typeof value !== 'string' || !/^https?:\/\//.test(value) || !URL.canParse(value)) return undefined;
    const { username, password } = new URL(value);
    return username === '' && password === '' ? value : undefined;
  },
  format: (value) => value,
};

function oneOf(words: readonly string[]): string {
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
