/** What this server refuses to sign as a policy server: the operator's rules, by what an event says. Pure. */

import type { RoomId } from '#keys/ids.ts';
import { parseServerName, serverNameOf } from '#keys/ids.ts';
import { type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { type Glob, globOf, matchesGlob } from '#rooms/glob.ts';

/** As the operator writes them; lists are of globs. */
export interface PolicyRulesConfig {
  /** Rooms that are served; all that name this server where empty. */
  readonly policyRooms: readonly string[];
  readonly policyRefusedServers: readonly string[];
  readonly policyRefusedUsers: readonly string[];
  readonly policyRefusedTypes: readonly string[];
  readonly policyRefusedMsgtypes: readonly string[];
  /** Hosts of links. */
  readonly policyRefusedLinks: readonly string[];
  /** In bytes of the whole event. */
  readonly policyMaxEventSize: number | undefined;
  readonly policyMaxMentions: number | undefined;
}

/** What the rules look at; an `Event` has it. */
export type Judged = Pick<Event, 'type' | 'sender' | 'stateKey' | 'content' | 'json'>;

export class PolicyRules {
  readonly #config: PolicyRulesConfig;
  readonly #globs: Readonly<Record<'servers' | 'users' | 'types' | 'msgtypes' | 'links', readonly Glob[]>>;

  constructor(config: PolicyRulesConfig) {
    this.#config = config;
    this.#globs = {
      servers: config.policyRefusedServers.map((server) => globOf(server.toLowerCase())),
      users: config.policyRefusedUsers.map(globOf),
      types: config.policyRefusedTypes.map(globOf),
      msgtypes: config.policyRefusedMsgtypes.map(globOf),
      links: config.policyRefusedLinks.map((host) => globOf(host.toLowerCase())),
    };
  }

  serves(roomId: RoomId): boolean {
    const { policyRooms } = this.#config;
    return policyRooms.length === 0 || policyRooms.includes(roomId);
  }

  /** Why the event is refused, in a sentence for its sender; undefined where it is signed. */
  refusalOf(event: Judged): string | undefined {
    // Whoever is not wanted may always go.
    if (isOwnLeave(event)) return undefined;
    return this.#refusalOfSender(event) ?? this.#refusalOfSize(event) ?? this.#refusalOfContent(event);
  }

  #refusalOfSender({ sender }: Judged): string | undefined {
    // As for `m.room.server_acl`: a server is not another one by its port, nor by how it writes its name.
    const server = (serverNameOf(sender) ?? '').toLowerCase();
    const host = (parseServerName(server)?.host ?? server).replace(/\.+$/, '');
    const isRefused = [server, host].some((name) => isAmong(this.#globs.servers, name));
    if (isRefused) return 'Events of this server are not wanted in this room';
    return isAmong(this.#globs.users, sender) ? 'Events of this user are not wanted in this room' : undefined;
  }

  #refusalOfSize({ json, content, type }: Judged): string | undefined {
    const { policyMaxEventSize: bytes, policyMaxMentions: mentions } = this.#config;
    // The state that a room lives by may be large: its levels, its access control list.
    const isOfRoom = type.startsWith('m.room.') && type !== 'm.room.message' && type !== 'm.room.encrypted';
    if (bytes !== undefined && !isOfRoom && Buffer.byteLength(json) > bytes) {
      return `The event is larger than the ${bytes} bytes that this room takes`;
    }
    if (mentions !== undefined && mentionsIn(content) > mentions) {
      return `The event mentions more than ${mentions} users`;
    }
    return undefined;
  }

  #refusalOfContent({ type, content }: Judged): string | undefined {
    const { types, msgtypes, links } = this.#globs;
    if (isAmong(types, type)) return 'Events of this type are not wanted in this room';
    const contents = [content, objectAt(content, 'm.new_content') ?? {}];
    const kinds = contents.map((each) => stringAt(each, 'msgtype')).filter((kind) => kind !== undefined);
    if (kinds.some((kind) => isAmong(msgtypes, kind)))
      return 'Messages of this kind are not wanted in this room';
    const isRefused = links.length > 0 && contents.some((each) => hasLinkTo(links, each));
    return isRefused ? 'Links of this kind are not wanted in this room' : undefined;
  }
}

function isOwnLeave({ type, sender, stateKey, content }: Judged): boolean {
  return type === 'm.room.member' && stateKey === sender && stringAt(content, 'membership') === 'leave';
}

function isAmong(globs: readonly Glob[], text: string): boolean {
  return globs.some((glob) => matchesGlob(glob, text));
}

function mentionsIn(content: JsonObject): number {
  const users = own(objectAt(content, 'm.mentions') ?? {}, 'user_ids');
  return Array.isArray(users) ? new Set(users).size : 0;
}

/** Of a link, its host; nothing in it is tried twice. Browsers take any number of slashes, either way round. */
const LINK = /https?:[\\/]*(?:[^\s\\/?#@"'<>]*@)?([^\s\\/?#:@"'<>]+)/gi;
/** Who writes more is refused unseen. */
const MOST_LINKS = 100;

function hasLinkTo(globs: readonly Glob[], content: JsonObject): boolean {
  const texts = [stringAt(content, 'body'), stringAt(content, 'formatted_body'), stringAt(content, 'topic')];
  let left = MOST_LINKS;
  for (const text of texts) {
    for (const [, host = ''] of text?.matchAll(LINK) ?? []) {
      left -= 1;
      if (left < 0 || isAmong(globs, host.toLowerCase().replace(/\.$/, ''))) return true;
    }
  }
  return false;
}
