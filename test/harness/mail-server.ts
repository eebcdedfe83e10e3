/** A real mail server on loopback, which keeps what it is handed. */

import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { SMTPServer } from 'smtp-server';
import type { Config } from '#server/config-options.ts';
import type { TestCertificate } from '#test/harness/certificates.ts';

export interface ReceivedLetter {
  readonly from: string;
  readonly to: readonly string[];
  /** As it came over the wire. */
  readonly raw: string;
  readonly headers: string;
  /** The plain text, decoded. */
  readonly body: string;
  /** The part that is HTML, decoded; empty without one. */
  readonly html: string;
  /** The path of the link in it, with its query; empty without one. */
  readonly link: string;
}

export interface MailServer extends AsyncDisposable {
  readonly port: number;
  readonly letters: readonly ReceivedLetter[];
  /** The last letter. */
  readonly last: ReceivedLetter;
  /** While true every letter is refused. */
  isRefusing: boolean;
}

export interface MailServerOptions {
  /** Offers STARTTLS by it; without it the server speaks in the clear. */
  readonly certificate?: TestCertificate;
  /** Who must sign in. */
  readonly user?: { readonly name: string; readonly password: string };
}

/** The base of the links in letters: a test follows them where its server really listens. */
export const LINK_BASE = 'https://matrix.kurir.test';

/** Options of a server that hands its letters to `mail`. */
export function mailOptions(mail: MailServer): Partial<Config> {
  return {
    publicBaseurl: LINK_BASE,
    smtpServer: { host: '127.0.0.1', port: mail.port },
    smtpSecurity: 'none',
    smtpFrom: 'Matrix <matrix@kurir.test>',
  };
}

export async function startMailServer({ certificate, user }: MailServerOptions = {}): Promise<MailServer> {
  const letters: ReceivedLetter[] = [];
  const state = { isRefusing: false };
  const smtp = new SMTPServer({
    ...(certificate === undefined ? { disabledCommands: ['STARTTLS'] } : certificate),
    authOptional: user === undefined,
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _session, callback) => {
      const isRight = username === user?.name && password === user?.password;
      callback(isRight ? null : new Error('wrong'), isRight ? { user: username ?? '' } : undefined);
    },
    onData: (stream, { envelope }, callback) => {
      void text(stream).then((raw) => {
        if (state.isRefusing) return callback(Object.assign(new Error('not now'), { responseCode: 451 }));
        const from = envelope.mailFrom === false ? '' : envelope.mailFrom.address;
        letters.push(letterOf(raw, { from, to: envelope.rcptTo.map(({ address }) => address) }));
        return callback();
      });
    },
  });
  // What a client does that gives up, as where it does not trust the certificate.
  smtp.on('error', () => undefined);
  const server = smtp.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    letters,
    get last(): ReceivedLetter {
      const last = letters.at(-1);
      if (last === undefined) throw new Error('no letter has come');
      return last;
    },
    get isRefusing(): boolean {
      return state.isRefusing;
    },
    set isRefusing(value: boolean) {
      state.isRefusing = value;
    },
    [Symbol.asyncDispose]: () => new Promise((resolve) => smtp.close(() => resolve())),
  };
}

function letterOf(raw: string, envelope: { from: string; to: readonly string[] }): ReceivedLetter {
  const end = raw.indexOf('\r\n\r\n');
  const headers = raw.slice(0, end);
  const coded = raw.slice(end + 4);
  const [, boundary] = /^content-type: multipart\/alternative;\s+boundary="([^"]+)"/im.exec(headers) ?? [];
  const parts = boundary === undefined ? [raw] : coded.split(`--${boundary}`).slice(1, -1);
  const [body = '', html = ''] = parts.map(decoded);
  const url = /https:\/\/\S+/.exec(body)?.[0];
  return {
    ...envelope,
    raw,
    headers,
    body,
    html,
    link: url === undefined ? '' : url.slice(LINK_BASE.length),
  };
}

/** The body of a letter, or of a part of it. */
function decoded(part: string): string {
  const end = part.indexOf('\r\n\r\n');
  const coded = part.slice(end + 4);
  const [, encoding] = /^content-transfer-encoding: (\S+)/im.exec(part.slice(0, end)) ?? [];
  if (encoding === 'base64') return Buffer.from(coded, 'base64').toString('utf8');
  return encoding === 'quoted-printable' ? unquoted(coded) : coded;
}

function unquoted(text: string): string {
  const bytes = text
    .replaceAll('=\r\n', '')
    .replaceAll(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
