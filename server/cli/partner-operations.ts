/** What the operator's command does to partners, the same whether the server runs or not. */

import {
  DIRECTIONS,
  LONGEST_NOTE,
  MOST_KEYS,
  newPartner,
  type Partner,
  partnerName,
  pinnedKey,
} from '#federation/partners/partner.ts';
import { isProfileName, PROFILE_NAMES, QUIRKS } from '#federation/partners/profiles.ts';
import { MOST_PARTNERS, type PartnerRegistry, type Partners } from '#federation/partners/registry.ts';
import type { ServerName } from '#keys/ids.ts';
import { integerAt, isStringArray, type JsonObject, own, stringAt } from '#keys/json.ts';
import { portWarning } from '../config/partner-option.ts';
import { certificatesIn, faultOfCertificates } from '../tls/partner-certificates.ts';
import type { Outcome } from './operations.ts';

/** What operations need: of a running server, or of a database that was opened for one command. */
export interface PartnerOperationContext {
  readonly serverName: ServerName;
  readonly partners: PartnerRegistry;
}

const PAGE = 200;

/** Does one thing: `{"operation": "partner.list", ...}`; undefined for what is none of these. */
export async function performOnPartners(
  ctx: PartnerOperationContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  switch (own(operation, 'operation')) {
    case 'partner.list':
      return listPartners(ctx, integerAt(operation, 'after') ?? 0);
    case 'partner.show':
      return showPartner(ctx, stringAt(operation, 'name') ?? '');
    case 'partner.add':
      return addPartner(ctx, operation);
    case 'partner.set':
      return setPartner(ctx, operation);
    case 'partner.remove':
      return removePartner(ctx, stringAt(operation, 'name') ?? '');
    default:
      return undefined;
  }
}

function listPartners({ partners }: PartnerOperationContext, after: number): Outcome {
  const { current } = partners;
  const page = current.list.slice(after, after + PAGE);
  const lines = [...(after === 0 ? [opennessLine(current), ''] : []), ...page.map(lineOf)];
  const next = after + page.length;
  return { kind: 'done', lines, ...(next < current.list.length && { next }) };
}

function opennessLine({ inbound, outbound }: Partners): string {
  const callers = inbound === 'everyone' ? 'Every server may call us' : 'Only partners may call us';
  const called = outbound === 'everyone' ? 'we call every server' : 'we call partners only';
  return `${callers}; ${called}.`;
}

function lineOf({ name, direction, profile, keys, ca, note, source }: Partner): string {
  return [
    name,
    direction,
    profile === undefined ? '' : `profile ${profile}`,
    keys.size === 0 ? '' : 'pinned keys',
    ca === undefined ? '' : 'pinned authority',
    source === 'configuration' ? 'in the configuration' : '',
    // Quoted, so that no note says more than a note.
    note === '' ? '' : JSON.stringify(note),
  ]
    .filter((part) => part !== '')
    .join('  ');
}

function showPartner({ partners }: PartnerOperationContext, name: string): Outcome {
  const known = partnerName(name);
  if (known === undefined) return notAName(name);
  const { current } = partners;
  if (known.startsWith('*.')) {
    const partner = current.named(known);
    return partner === undefined ? noSuchPartner(known) : { kind: 'done', lines: termsOf(partner) };
  }
  const partner = current.of(known);
  const lines = [
    `${known} ${current.mayCallUs(known) ? 'may' : 'may not'} call us; ${current.mayCall(known) ? 'we may' : 'we may not'} call it.`,
    ...(partner === undefined ? ['It is no partner.'] : termsOf(partner)),
    ...profileLines(partners, known),
  ];
  return { kind: 'done', lines };
}

function termsOf(partner: Partner): string[] {
  const { name, direction, keys, ca, note, source } = partner;
  const authorities = ca === undefined ? [] : (certificatesIn(ca) ?? []);
  return [
    `Partner ${name}, direction ${direction}, ${source === 'command' ? 'added by command' : 'of the configuration file'}.`,
    ...[...keys].map(([keyId, key]) => `Pinned key: ${keyId} ${key}`),
    ...authorities.map(
      ({ subject, validToDate }) =>
        `Pinned authority: ${subject.replaceAll(/\s+/g, ' ')}, valid to ${validToDate.toISOString().slice(0, 10)}`,
    ),
    ...(note === '' ? [] : [`Note: ${JSON.stringify(note)}`]),
  ];
}

function profileLines(partners: PartnerRegistry, server: ServerName): string[] {
  const profile = partners.profileOf(server);
  const learned = partners.learnedOf(server);
  const because = {
    chosen: 'as you chose',
    learned: 'by what it gave away',
    default: 'since nothing is known of it',
  }[profile.source];
  return [
    `Profile ${profile.name}, ${because}.`,
    ...(learned?.software === undefined ? [] : [`Software: ${JSON.stringify(learned.software)}`]),
    `Room versions: ${profile.versions.length === 0 ? '(none)' : profile.versions.join(', ')}`,
    `Encryption: ${profile.encryption ? 'yes' : 'no'}; join rules: ${profile.joinRules.join(', ')}`,
    `After an outage it gets ${profile.replay === 'full' ? 'every event in order' : 'the newest events'}.`,
    ...[...profile.quirks].map((quirk) => `Mind: ${QUIRKS[quirk]}.`),
  ];
}

async function addPartner(ctx: PartnerOperationContext, operation: JsonObject): Promise<Outcome> {
  const given = stringAt(operation, 'name') ?? '';
  const name = partnerName(given);
  if (name === undefined) return notAName(given);
  if (name === ctx.serverName.toLowerCase()) return refused(`${name} is this server itself`);
  const { current } = ctx.partners;
  const known = current.named(name);
  if (known !== undefined) return refused(`${name} is a partner already: change it by "partner set"`);
  if (current.list.length >= MOST_PARTNERS)
    return refused(`there are ${MOST_PARTNERS} partners, which is the most`);
  return put(ctx, newPartner(name), operation);
}

async function setPartner(ctx: PartnerOperationContext, operation: JsonObject): Promise<Outcome> {
  const known = changeable(ctx, stringAt(operation, 'name') ?? '');
  return 'kind' in known ? known : put(ctx, known, operation);
}

async function removePartner(ctx: PartnerOperationContext, name: string): Promise<Outcome> {
  const known = changeable(ctx, name);
  if ('kind' in known) return known;
  await ctx.partners.remove(known.name);
  return { kind: 'done', lines: [`${known.name} is no partner any more.`] };
}

/** The partner of a name, where a command may change it; else what to say. */
function changeable(ctx: PartnerOperationContext, given: string): Partner | Outcome {
  const name = partnerName(given);
  if (name === undefined) return notAName(given);
  const partner = ctx.partners.current.named(name);
  if (partner === undefined) return noSuchPartner(name);
  if (partner.source === 'command') return partner;
  return refused(
    `${name} stands in the configuration file, and is changed there: edit "partners" and restart the server`,
  );
}

async function put(ctx: PartnerOperationContext, before: Partner, operation: JsonObject): Promise<Outcome> {
  const after = changed(before, operation);
  if (typeof after === 'string') return refused(after);
  await ctx.partners.put(after);
  return { kind: 'done', lines: [lineOf(after), ...warningsOf(ctx, after)] };
}

/** What should not be overlooked. */
function warningsOf({ serverName, partners }: PartnerOperationContext, partner: Partner): string[] {
  const { inbound, outbound } = partners.current;
  const ports = partner.profile !== 'rocketchat' ? [] : [serverName, partner.name].map(portWarning);
  const isIdle = inbound === 'everyone' && outbound === 'everyone' && partner.direction !== 'both';
  return [
    ...ports.filter((line) => line !== undefined).map((line) => `Note: ${line}`),
    ...(isIdle
      ? ['Note: its direction counts only with federation_inbound or federation_outbound set to "partners".']
      : []),
  ];
}

/** The partner with what the operation says of it; a text where that cannot be. */
function changed(before: Partner, operation: JsonObject): Partner | string {
  const direction = stringAt(operation, 'direction') ?? before.direction;
  const known = DIRECTIONS.find((each) => each === direction);
  if (known === undefined) return `"${direction}" is no direction: use ${DIRECTIONS.join(', ')}`;
  const word = stringAt(operation, 'profile') ?? before.profile ?? 'auto';
  if (word !== 'auto' && !isProfileName(word)) {
    return `"${word}" is no profile: use ${PROFILE_NAMES.join(', ')}, or auto to let the server find out`;
  }
  const ca = stringAt(operation, 'ca');
  const fault = ca === undefined ? undefined : faultOfCertificates(ca);
  if (fault !== undefined) return `the file ${fault}`;
  const keys = keysOf(operation);
  if (typeof keys === 'string') return keys;
  const note = stringAt(operation, 'note') ?? before.note;
  if (note.length > LONGEST_NOTE) return `the note is longer than ${LONGEST_NOTE} characters`;
  return {
    ...before,
    direction: known,
    profile: word === 'auto' ? undefined : word,
    keys: keys ?? before.keys,
    // Null: it is pinned no more.
    ca: own(operation, 'ca') === null ? undefined : (ca ?? before.ca),
    note: note.replaceAll('\0', '').toWellFormed(),
  };
}

/** Undefined where the operation says nothing of keys. */
function keysOf(operation: JsonObject): Partner['keys'] | string | undefined {
  const given = own(operation, 'keys');
  if (given === undefined) return undefined;
  const entries = isStringArray(given) ? given.map(pinnedKey) : [undefined];
  const keys = entries.filter((entry) => entry !== undefined);
  if (keys.length === entries.length && keys.length <= MOST_KEYS) return new Map(keys);
  return `a key is ed25519:ID=BASE64, as /_matrix/key/v2/server of the partner shows it; ${MOST_KEYS} at most`;
}

function notAName(name: string): Outcome {
  return refused(`"${name}" is not the name of a server, such as example.org, nor of several: *.example.org`);
}

function noSuchPartner(name: string): Outcome {
  return refused(`${name} is no partner: see "partner list"`);
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}
