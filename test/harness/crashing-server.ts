import { type Environment, type ServerProcess, startProcess } from './process.ts';

/** Open registration, and no more in the log than warnings. */
export const OPEN: Environment = { KURIR_REGISTRATION: 'open', KURIR_LOG_LEVEL: 'warn' };

/** A server as a process, that is found at `clientUrl` after each start, wherever it listens then. */
export class CrashingServer {
  readonly env: Environment;
  #running: ServerProcess | undefined;

  constructor(env: Environment) {
    this.env = env;
  }

  get clientUrl(): string {
    return this.#running?.clientUrl ?? '';
  }

  async start(): Promise<void> {
    this.#running = await startProcess(this.env);
  }

  async kill(): Promise<void> {
    await this.#running?.stop('SIGKILL');
  }

  stop(): Promise<number | null> | undefined {
    return this.#running?.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running?.[Symbol.asyncDispose]();
  }
}
