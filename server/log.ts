import { type DestinationStream, destination, type Logger, pino } from 'pino';
import type { Log } from '#rooms/context.ts';

/** Members that are never written, at the top of a log line and one level below. */
const SECRET_MEMBERS = [
  'access_token',
  'accessToken',
  'authorization',
  'password',
  'new_password',
  'registration_secret',
  'registrationSecret',
  'secret',
  'token',
  'mac',
];
const SECRET_PATHS = SECRET_MEMBERS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
/** What may stand in a text, such as an error's message: tokens in addresses and headers. */
const SECRET_TEXT = /((?:access_token|token)=|Bearer\s+)[^\s&"'\\]+/gi;

/** Signs that a terminal obeys; JSON escapes some of them only. */
const CONTROLS = /\p{Cc}/gu;

const STDERR = 2;

/**
 * The server's log: one JSON object a line on standard error, or plain lines where that is a terminal. Members
 * that hold secrets are left out by their names, tokens inside texts by their shape.
 */
export function createLog(level: string, to: DestinationStream = defaultDestination()): Log {
  const logger: Logger = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_PATHS, censor: '[redacted]' },
      serializers: { err: pino.stdSerializers.err },
    },
    {
      write: (line: string) => {
        const text = line.trimEnd().replaceAll(SECRET_TEXT, '$1[redacted]');
        to.write(`${withoutControls(text)}\n`);
      },
    },
  );
  return logger;
}

/** The same text, in which such signs are written as JSON escapes them. */
function withoutControls(text: string): string {
  return text.replaceAll(CONTROLS, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function defaultDestination(): DestinationStream {
  const stream = destination({ fd: STDERR, sync: true });
  return process.stderr.isTTY ? { write: (line) => stream.write(readableLine(line)) } : stream;
}

/** For people: `12:00:01 warn  message  name=value ...`. What is below it, such as a stack, is indented. */
export function readableLine(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const members = Object.entries(fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const head = [`${String(time).slice(11, 19)} ${String(level).padEnd(5)} ${String(msg ?? '')}`, ...members];
  const stack = typeof err === 'object' && err !== null && 'stack' in err ? String(err.stack) : '';
  const below = stack === '' ? [] : stack.split('\n').map((part) => `    ${part}`);
  return [head.join('  '), ...below].map((part) => `${withoutControls(part)}\n`).join('');
}
