/** Server access control lists: https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms */
import { isIpLiteral, parseServerName, type ServerName } from '#keys/ids.ts';
import { type Json, own } from '#keys/json.ts';
import type { Event } from './event.ts';
import { matchesGlob } from './glob.ts';

interface Acl {
  readonly allowIpLiterals: boolean;
  readonly allow: Patterns;
  readonly deny: Patterns;
}

/** Most entries of real lists are plain names: they are looked up, and only the others are matched. */
interface Patterns {
  readonly names: ReadonlySet<string>;
  readonly globs: readonly string[];
}

const acls = new WeakMap<Event, Acl>();

/**
 * Whether a server may take part in a room whose current `m.room.server_acl` is `event`. The server's port does
 * not count, nor does case. A list that is missing or malformed is empty: without `allow`, nobody may.
 */
export function isServerAllowed(event: Event | undefined, server: ServerName): boolean {
  // "1. If there is no m.room.server_acl event in the room state, allow."
  if (event === undefined) return true;
  const name = parseServerName(server);
  if (name === undefined) return false;
  const acl = aclOf(event);
  const host = name.host.toLowerCase();
  // "2. If the server name is an IP address literal, and allow_ip_literals is present and false, deny."
  if (!acl.allowIpLiterals && isIpLiteral(host)) return false;
  // "3. If the server name matches an entry in the deny list, deny." `evil.com.` is the host `evil.com`.
  if (matchesAny(acl.deny, host) || matchesAny(acl.deny, host.replace(/\.+$/, ''))) return false;
  // "4. If the server name matches an entry in the allow list, allow. 5. Otherwise, deny."
  return matchesAny(acl.allow, host);
}

function aclOf(event: Event): Acl {
  const known = acls.get(event);
  if (known !== undefined) return known;
  const acl: Acl = {
    // "Defaults to true if missing or otherwise not a boolean."
    allowIpLiterals: own(event.content, 'allow_ip_literals') !== false,
    allow: patternsOf(own(event.content, 'allow')),
    deny: patternsOf(own(event.content, 'deny')),
  };
  acls.set(event, acl);
  return acl;
}

function patternsOf(list: Json | undefined): Patterns {
  const names = new Set<string>();
  const globs: string[] = [];
  for (const entry of Array.isArray(list) ? list : []) {
    if (typeof entry !== 'string') continue;
    const pattern = entry.toLowerCase();
    if (/[*?]/.test(pattern)) globs.push(pattern);
    else names.add(pattern);
  }
  return { names, globs };
}

function matchesAny(patterns: Patterns, host: string): boolean {
  return patterns.names.has(host) || patterns.globs.some((glob) => matchesGlob(glob, host));
}
