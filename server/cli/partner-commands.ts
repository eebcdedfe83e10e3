import { readFile } from 'node:fs/promises';
import { PartnerRegistry } from '#federation/partners/registry.ts';
import type { JsonObject } from '#keys/json.ts';
import { partnerSettings } from '../config/partner-option.ts';
import type { Config } from '../config-options.ts';
import { carryOut } from './carry-out.ts';
import type { Outcome } from './operations.ts';
import { performOnPartners } from './partner-operations.ts';
import { UsageError } from './usage.ts';

/** What the command line says of a partner; undefined for what it leaves as it is. */
export interface PartnerFlags {
  readonly direction: string | undefined;
  readonly profile: string | undefined;
  /** `none`, or one or several `ed25519:ID=BASE64`. */
  readonly key: readonly string[] | undefined;
  /** `none`, or the path of a PEM file. */
  readonly ca: string | undefined;
  readonly note: string | undefined;
}

/** All partners, page by page. */
export async function listPartners(config: Config): Promise<Outcome> {
  const lines: string[] = [];
  for (let after: number | undefined = 0; after !== undefined; ) {
    // Each page begins where the one before ended.
    const page: Outcome = await operate(config, { operation: 'partner.list', after });
    if (page.kind === 'refused') return page;
    lines.push(...page.lines);
    after = page.next;
  }
  return { kind: 'done', lines };
}

/** What is agreed with a server, and what is known of it. */
export function showPartner(config: Config, name: string): Promise<Outcome> {
  return operate(config, { operation: 'partner.show', name });
}

/** Makes a server a partner. */
export async function addPartner(config: Config, name: string, flags: PartnerFlags): Promise<Outcome> {
  return operate(config, { operation: 'partner.add', name, ...(await termsOf(flags)) });
}

/** Changes what is agreed with a partner. */
export async function setPartner(config: Config, name: string, flags: PartnerFlags): Promise<Outcome> {
  const terms = await termsOf(flags);
  if (Object.keys(terms).length === 0) throw new UsageError('what to change is missing: see --help');
  return operate(config, { operation: 'partner.set', name, ...terms });
}

/** Ends a partnership. */
export function removePartner(config: Config, name: string): Promise<Outcome> {
  return operate(config, { operation: 'partner.remove', name });
}

/** The certificates are sent as they are: the server may not be allowed to read where the operator has them. */
async function termsOf({ direction, profile, key, ca, note }: PartnerFlags): Promise<JsonObject> {
  const keys = key?.length === 1 && key[0] === 'none' ? [] : key;
  return {
    ...(direction !== undefined && { direction }),
    ...(profile !== undefined && { profile }),
    ...(keys !== undefined && { keys }),
    ...(ca !== undefined && { ca: ca === 'none' ? null : await readCertificates(ca) }),
    ...(note !== undefined && { note }),
  };
}

async function readCertificates(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new UsageError(`${path} cannot be read (${cause.code}): check the path`, { cause });
  });
}

/** By the running server where there is one, else on its database. */
function operate(config: Config, operation: JsonObject): Promise<Outcome> {
  return carryOut(config, operation, async ({ db, clock, serverName }) => {
    const partners = await PartnerRegistry.open({ db, clock, settings: await partnerSettings(config) });
    return performOnPartners({ serverName, partners }, operation);
  });
}
