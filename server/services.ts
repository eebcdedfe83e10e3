/** What the routes use beside the rooms and the federation, each opened once. */

import type { FederationContext } from '#federation/context.ts';
import type { MediaParts } from '#federation/media/context.ts';
import { openMedia } from '#federation/media/open.ts';
import type { Dialer } from '#federation/network/dial.ts';
import { CircleKeeper } from '#federation/partners/circles.ts';
import { Appservices } from './appservices/appservices.ts';
import { AppserviceKeys } from './appservices/keys.ts';
import { AppserviceQueries } from './appservices/query.ts';
import { refuseTooMany } from './appservices/restraint.ts';
import { GuestRooms } from './auth/guest-rooms.ts';
import { InteractiveAuth } from './auth/interactive-auth.ts';
import { Sessions } from './auth/sessions.ts';
import { Background } from './background.ts';
import { mediaLimits } from './config/media-options.ts';
import type { Config } from './config-options.ts';
import { Consents } from './consent/consents.ts';
import type { ServerContext } from './context.ts';
import { Mailer } from './email/mailer.ts';
import { GroupRoomKeeper } from './group-rooms/keeper.ts';
import { RateLimits } from './limits.ts';
import { AuthenticationService } from './mas/authentication-service.ts';
import { openBucket } from './media/media-bucket.ts';
import { openPreviews } from './previews/open.ts';
import { Providers } from './providers/providers.ts';
import { Pushes, type PushesOptions } from './push/pushes.ts';
import { UnreadCounts } from './push/unread.ts';
import { Vapid, vapidContact } from './push/vapid.ts';
import { RoomPurges } from './rooms/room-purges.ts';
import { ScanBacklog } from './scanning/backlog.ts';
import { openScanning, type Scanning } from './scanning/open.ts';
import { Seal } from './seal.ts';
import { openSearch } from './search/indexer.ts';
import { DelayedEvents } from './sending/delayed-events.ts';
import { configuredRoots } from './tls/certificate.ts';
import { directoryKeeper } from './user-directory/keeper.ts';

type Foundation = FederationContext & {
  readonly config: Config;
  readonly dialer: Dialer;
  readonly shutdown: AbortSignal;
};

type Mailing = Foundation & Pick<ServerContext, 'unread' | 'seal' | 'mailer'>;

export type Services = Omit<
  ServerContext,
  | Exclude<keyof FederationContext, 'bridged' | 'bridgedKeys' | 'refuseBridgedJoin'>
  | 'config'
  | 'shutdown'
  | 'directory'
>;

/** Opens the services; each is closed with `opening`, the last one first. */
export async function openServices(given: Foundation, opening: AsyncDisposableStack): Promise<Services> {
  const { config, db, clock, log, dialer, shutdown } = given;
  const { dataDir } = config;
  const background = opening.use(new Background(log));
  const bucket = await openBucket(config, opening);
  if (bucket !== undefined) background.run(bucket.place.check(), 'the bucket of files cannot be used');
  const scanning = await openScanning(given, config, shutdown);
  const scanner = scanning?.files;
  const mediaOptions = {
    dataDir,
    bucket,
    scanner,
    dialer,
    limits: mediaLimits(config),
    stopping: shutdown,
  };
  const seal = await Seal.open(dataDir);
  const limits = await RateLimits.open(db, { enabled: config.rateLimits, clock });
  const appservices = opening.use(await Appservices.open(given, config));
  limits.spareAlso((userId) => appservices.isSpared(userId));
  const mas = await openMas(given, opening);
  const media = await openMedia(given, mediaOptions, opening);
  const unread = new UnreadCounts(given, config);
  const mailer = opening.use(await Mailer.open(config, log));
  return {
    limits,
    appservices,
    bridged: new AppserviceQueries(appservices),
    bridgedKeys: new AppserviceKeys(appservices, config, log),
    refuseBridgedJoin: (roomId, userId) =>
      refuseTooMany({ ...given, appservices }, roomId, { by: userId, who: userId }),
    mas,
    sessions: opening.use(
      new Sessions({ db, clock, elsewhere: mas }, (error) => log.error({ err: error }, 'not noted')),
    ),
    interactiveAuth: new InteractiveAuth(clock),
    providers: opening.use(await Providers.open(config, clock)),
    background,
    seal,
    consents: new Consents({ db, seal, config }),
    mailer,
    purges: opening.use(new RoomPurges(given)),
    circles: opening.use(new CircleKeeper(given)),
    delayedEvents: opening.use(new DelayedEvents(given)),
    groupRooms: opening.use(new GroupRoomKeeper(given)),
    guestRooms: opening.use(new GuestRooms(given)),
    media,
    scanning: scanning && { ...scanning, backlog: backlogOf(given, media, scanning) },
    previews: await openPreviews({ ...given, media }),
    search: opening.use(await openSearch(given, config.search)),
    userDirectory: opening.use(directoryKeeper(given)),
    unread,
    pushes: opening.use(new Pushes(given, unread, await pushesOptions({ ...given, unread, seal, mailer }))),
  };
}

function backlogOf(given: Foundation, { blobs }: MediaParts, { files, queue }: Scanning): ScanBacklog {
  return new ScanBacklog({ ...given, blobs, stopping: given.shutdown }, files, queue);
}

/** @throws ConfigError for certificates that cannot be read */
async function pushesOptions(given: Mailing): Promise<PushesOptions> {
  const { config, db, clock, mailer } = given;
  const { privatePushGateways: privateHosts, pushCa, webPush } = config;
  const isMailed = mailer !== undefined && config.emailNotifications !== 'off';
  return {
    gateways: { privateHosts, ca: await configuredRoots(pushCa, 'push_ca') },
    vapid: webPush ? await Vapid.open(db, clock, vapidContact(config)) : undefined,
    mail: isMailed ? { ...given, mailer } : undefined,
  };
}

/** Undefined where this server signs people in itself. */
async function openMas(
  given: Foundation,
  opening: AsyncDisposableStack,
): Promise<AuthenticationService | undefined> {
  const { mas, federationAllowPrivate: allowPrivate } = given.config;
  return mas && opening.use(await AuthenticationService.open(given, mas, { allowPrivate }));
}
