import type { FederationContext } from '#federation/context.ts';
import type { MediaContext } from '#federation/media/context.ts';
import type { CircleKeeper } from '#federation/partners/circles.ts';
import type { LiveSigningKey } from '#keys/signing-key.ts';
import type { Appservices } from './appservices/appservices.ts';
import type { AppserviceQueries } from './appservices/query.ts';
import type { PasswordDirectory } from './auth/accounts.ts';
import type { GuestRooms } from './auth/guest-rooms.ts';
import type { InteractiveAuth } from './auth/interactive-auth.ts';
import type { Sessions } from './auth/sessions.ts';
import type { Background } from './background.ts';
import type { Config } from './config-options.ts';
import type { Consents } from './consent/consents.ts';
import type { Mailer } from './email/mailer.ts';
import type { GroupRoomKeeper } from './group-rooms/keeper.ts';
import type { RateLimits } from './limits.ts';
import type { AuthenticationService } from './mas/authentication-service.ts';
import type { Previews } from './previews/previews.ts';
import type { Providers } from './providers/providers.ts';
import type { Pushes } from './push/pushes.ts';
import type { UnreadCounts } from './push/unread.ts';
import type { RoomPurges } from './rooms/room-purges.ts';
import type { ScanBacklog } from './scanning/backlog.ts';
import type { Scanning } from './scanning/open.ts';
import type { Seal } from './seal.ts';
import type { SearchIndexer } from './search/indexer.ts';
import type { DelayedEvents } from './sending/delayed-events.ts';
import type { DirectoryKeeper } from './user-directory/keeper.ts';

/** What the functions of `server/` take first; made by `boot.ts`. */
export interface ServerContext extends FederationContext, MediaContext {
  readonly config: Config;
  readonly signingKey: LiveSigningKey;
  readonly limits: RateLimits;
  readonly seal: Seal;
  readonly sessions: Sessions;
  readonly guestRooms: GuestRooms;
  readonly interactiveAuth: InteractiveAuth;
  readonly consents: Consents;
  /** The identity providers by which people sign in. */
  readonly providers: Providers;
  /** Undefined where there is no directory that knows people's passwords. */
  readonly directory: PasswordDirectory | undefined;
  /** Undefined where this server signs people in itself. */
  readonly mas: AuthenticationService | undefined;
  /** For secrets of others that must be kept. */
  /** Undefined where the server sends no letters. */
  readonly mailer: Mailer | undefined;
  /** Undefined where nothing looks for malware. */
  readonly scanning: (Scanning & { readonly backlog: ScanBacklog }) | undefined;
  /** Undefined where the operator has not switched previews of links on. */
  readonly previews: Previews | undefined;
  readonly background: Background;
  readonly purges: RoomPurges;
  readonly circles: CircleKeeper;
  readonly delayedEvents: DelayedEvents;
  readonly groupRooms: GroupRoomKeeper;
  readonly appservices: Appservices;
  readonly bridged: AppserviceQueries;
  /** Undefined where the operator has switched the search off. */
  readonly search: SearchIndexer | undefined;
  readonly userDirectory: DirectoryKeeper;
  readonly unread: UnreadCounts;
  readonly pushes: Pushes;
  /** Aborted when the server begins to stop: whoever waits answers at once. */
  readonly shutdown: AbortSignal;
}
