/** From a configuration to a running server, in the order of the layers; and back. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { ed25519Backend } from '#keys/ed25519.ts';
import type { UserId } from '#keys/ids.ts';
import { Lanes } from '#keys/lanes.ts';
import { LiveSigningKey, loadOrCreateSigningKey } from '#keys/signing-key.ts';
import type { Clock, Log } from '#rooms/context.ts';
import { readRelations } from '#rooms/relations/read-relations.ts';
import { forgetUnfinishedJoins } from '#rooms/told/adopt.ts';
import type { Database } from '#storage/database.ts';
import { migrate } from '#storage/migrate.ts';
import * as serverIdentity from '#storage/server-identity.ts';
import { openSqlite } from '#storage/sqlite.ts';
import { Streams } from '#storage/streams.ts';
import { buildClientApp, buildFederationApp } from './app.ts';
import { leaveRoomsOfDeactivated } from './auth/leave-rooms.ts';
import { ConfigError } from './config/config-file.ts';
import type { ListenAddress } from './config/config-types.ts';
import type { Config } from './config-options.ts';
import { remindOfTerms } from './consent/remind.ts';
import type { ServerContext } from './context.ts';
import { ControlSocket } from './control-socket.ts';
import { openFederation } from './federation-context.ts';
import { Housekeeping } from './housekeeping.ts';
import { drain, listen } from './http/listener.ts';
import { createLog } from './log.ts';
import { DirectoryAccounts, DirectoryChecks } from './providers/directory-accounts.ts';
import { LdapDirectory } from './providers/ldap-directory.ts';
import { SessionChecks } from './providers/session-checks.ts';
import { sendDelayed } from './sending/send-delayed.ts';
import { openServices } from './services.ts';
import { loadOrCreateCertificate } from './tls/certificate.ts';
import { fillDirectory } from './user-directory/keeper.ts';

export interface RunningServer {
  readonly ctx: ServerContext;
  /** Where clients connect, such as `http://127.0.0.1:8008`. */
  readonly clientUrl: string;
  readonly federationUrl: string;
  /** Stops accepting, answers what waits, finishes what is being written, and closes. */
  close(): Promise<void>;
}

export interface BootOptions {
  readonly log?: Log;
  readonly clock?: Clock;
  /** Called when the database failed in a way that only a restart mends. */
  readonly onFatal?: (error: unknown) => void;
}

/**
 * Starts a server. What was opened before a step that fails is closed again.
 *
 * @throws ConfigError, and what the parts throw that an operator can mend (see `main.ts`)
 */
export async function boot(config: Config, given: BootOptions = {}): Promise<RunningServer> {
  const { log = createLog(config.logLevel), clock = { now: () => Date.now() } } = given;
  if (ed25519Backend() === 'tweetnacl') {
    log.warn(
      {},
      'OpenSSL refuses Ed25519 here, as in FIPS mode: tweetnacl signs and verifies instead, slower',
    );
  }
  await using opening = new AsyncDisposableStack();
  const db = opening.use(await openDatabase(config, { log, onFatal: given.onFatal }));
  const signingKey = new LiveSigningKey(await loadOrCreateSigningKey(join(config.dataDir, 'signing.key')));
  const streams = opening.use(await Streams.open(db));

  const foundation = { config, db, streams, signingKey, clock, log };
  const { federation, dialer, begin } = await openFederation(foundation, opening);
  const stopping = new AbortController();
  const services = await openServices({ ...federation, config, dialer, shutdown: stopping.signal }, opening);
  const { sessions, seal, providers, media } = services;
  const ending = { ...foundation, sessions };
  const sessionChecks = opening.use(new SessionChecks({ ...ending, seal, providers }));
  const ldap = config.ldap && (await LdapDirectory.open(config.ldap));
  const directoryChecks = ldap && opening.use(new DirectoryChecks(ending, ldap));
  const housekeeping = opening.use(new Housekeeping({ ...federation, media }));
  const ctx: ServerContext = {
    ...federation,
    ...services,
    ...{ config, signingKey, shutdown: stopping.signal },
    directory: ldap && new DirectoryAccounts(() => ctx, ldap),
  };

  await forgetUnfinishedJoins(ctx);
  opening.use(await ControlSocket.listen(ctx));
  const federationApp = buildFederationApp(ctx, await loadOrCreateCertificate(config));
  opening.defer(() => drainAll([federationApp], stopping));
  const federationUrl = await start(federationApp, config.federationListen, 'https');
  // After the federation listener: what a client asks for first may need servers that ask us for our keys.
  const clientApp = buildClientApp(ctx);
  opening.defer(() => drainAll([clientApp], stopping));
  const clientUrl = await start(clientApp, config.clientListen, 'http');
  begin();
  housekeeping.start();
  sessionChecks.start();
  directoryChecks?.start();
  goOn(ctx);

  const closing = opening.move();
  return { ctx, clientUrl, federationUrl, close: () => closing.disposeAsync() };
}

/** Takes up what the last process left, and what goes on by itself. */
function goOn(ctx: ServerContext): void {
  const { db, log, background, shutdown } = ctx;
  ctx.purges.start();
  ctx.appservices.start();
  ctx.delayedEvents.start((event) => sendDelayed(ctx, event));
  ctx.search?.start();
  ctx.userDirectory.start();
  // One after the other: after a new version there are as many reminders as users, and nobody waits for them.
  const reminders = new Lanes(1, Number.POSITIVE_INFINITY);
  const remind = (userId: UserId) => reminders.run(() => remindOfTerms(ctx, userId));
  ctx.consents.start((userId) =>
    background.run(remind(userId), 'a user could not be reminded of the policies'),
  );
  background.run(ctx.pushes.start(), 'the pushers of users could not be read');
  background.run(fillDirectory(ctx, shutdown), 'earlier accounts could not be read into the directory');
  background.run(ctx.groupRooms.start(), 'the rooms of groups could not be read');
  if (ctx.scanning) background.run(ctx.scanning.backlog.keepOn(), 'files could not be scanned');
  background.run(ctx.circles.start(), 'the circles of rooms could not be read');
  background.run(ctx.guestRooms.start(), 'the rooms of guests could not be read');
  background.run(readRelations(db, log, shutdown), 'relations of earlier events could not be read');
  background.run(leaveRoomsOfDeactivated(ctx), 'deactivated users could not leave their rooms');
}

async function openDatabase(
  config: Config,
  { log, onFatal }: { log: Log; onFatal: BootOptions['onFatal'] },
): Promise<Database> {
  const path = join(config.dataDir, 'kurir.db');
  const isNew = !existsSync(path);
  const db = await openSqlite({ path, log, ...(onFatal !== undefined && { onFatal }) });
  try {
    await migrate(db, isNew ? {} : { log });
    await refuseOtherName(db, config);
    return db;
  } catch (error) {
    await db.close();
    throw error;
  }
}

/** A server's name is in every id that it has ever given out: another one would make a broken server. */
async function refuseOtherName(db: Database, { serverName, dataDir }: Config): Promise<void> {
  const known = await serverIdentity.remember(db, serverName);
  if (known === serverName) return;
  throw new ConfigError(
    `the database in ${dataDir} belongs to the server ${known}, not to ${serverName}: ` +
      `set server_name (KURIR_SERVER_NAME) to ${known}, or data_dir (KURIR_DATA_DIR) to another folder`,
  );
}

async function start(app: FastifyInstance, address: ListenAddress, scheme: string): Promise<string> {
  const port = await listen(app, address);
  const { host } = address;
  const shown = host === '0.0.0.0' || host === '::' ? 'localhost' : host;
  return `${scheme}://${shown.includes(':') ? `[${shown}]` : shown}:${port}`;
}

async function drainAll(apps: readonly FastifyInstance[], stopping: AbortController): Promise<void> {
  stopping.abort();
  await Promise.all(apps.map(drain));
}
