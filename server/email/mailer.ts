import { getCACertificates } from 'node:tls';
import type { Transporter } from 'nodemailer';
import { Lanes, LanesFull } from '#keys/lanes.ts';
import type { Log } from '#rooms/context.ts';
import type { Config } from '../config-options.ts';
import { configuredRoots } from '../tls/certificate.ts';

export interface Letter {
  readonly to: string;
  readonly subject: string;
  readonly text: string;
  /** The same with more looks. */
  readonly html?: string;
  /** Where a post ends letters of this kind (RFC 8058). */
  readonly unsubscribe?: string;
}

const AT_ONCE = 2;
const MOST_WAITING = 50;
const CONNECT_MS = 10_000;
const SILENT_MS = 20_000;

/** Hands letters to the mail server, a few at once. */
export class Mailer {
  readonly #transport: Pick<Transporter, 'sendMail' | 'close'>;
  readonly #from: string;
  readonly #log: Log;
  readonly #lanes = new Lanes(AT_ONCE, MOST_WAITING);

  /** Undefined where no mail server is configured. @throws ConfigError for certificates that cannot be read */
  static async open(config: Config, log: Log): Promise<Mailer | undefined> {
    const { smtpServer, smtpFrom, smtpSecurity, smtpUser, smtpPassword } = config;
    if (smtpServer === undefined || smtpFrom === undefined) return undefined;
    // Loaded only where it is used: most servers send no letters.
    const { createTransport } = await import('nodemailer');
    const ca = await configuredRoots(config.smtpCa, 'smtp_ca');
    const transport = createTransport({
      host: smtpServer.host,
      port: smtpServer.port,
      secure: smtpSecurity === 'tls',
      requireTLS: smtpSecurity === 'starttls',
      ignoreTLS: smtpSecurity === 'none',
      ...(ca !== undefined && { tls: { ca: [...getCACertificates('default'), ca] } }),
      ...(smtpUser !== undefined && { auth: { user: smtpUser, pass: smtpPassword } }),
      connectionTimeout: CONNECT_MS,
      greetingTimeout: CONNECT_MS,
      dnsTimeout: CONNECT_MS,
      socketTimeout: SILENT_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    return new Mailer(transport, smtpFrom, log);
  }

  private constructor(transport: Pick<Transporter, 'sendMail' | 'close'>, from: string, log: Log) {
    this.#transport = transport;
    this.#from = from;
    this.#log = log;
  }

  /** True once the mail server has taken the letter; false where it has not, or where too many wait. */
  async send({ to, subject, text, html, unsubscribe }: Letter): Promise<boolean> {
    const letter = {
      from: this.#from,
      // As an object, so that nothing in it is taken for a list of addresses.
      to: { name: '', address: to },
      subject,
      text,
      ...(html !== undefined && { html }),
      headers: {
        // Keeps those who are away from answering.
        'Auto-Submitted': 'auto-generated',
        ...(unsubscribe !== undefined && {
          'List-Unsubscribe': `<${unsubscribe}>`,
          'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
        }),
      },
    };
    try {
      await this.#lanes.run(() => this.#transport.sendMail(letter));
      return true;
    } catch (error) {
      const code = error instanceof LanesFull ? 'too many wait' : codeOf(error);
      this.#log.warn({ code }, 'a letter was not sent');
      return false;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#transport.close();
    return Promise.resolve();
  }
}

/** What went wrong, without the words of the mail server, which may name the address. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const code = 'code' in error ? String(error.code) : error.name;
  return 'responseCode' in error && error.responseCode !== undefined ? `${code} ${error.responseCode}` : code;
}
