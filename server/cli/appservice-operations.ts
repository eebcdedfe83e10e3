/** What the operator's command does about application services: by the running server, or on its database. */

import { type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import * as appservices from '#storage/appservices.ts';
import type { Database } from '#storage/database.ts';
import { Appservice } from '../appservices/appservice.ts';
import { type Appservices, checkRegistration, jsonOf, policyFrom } from '../appservices/appservices.ts';
import { FREE, type Policy, policyIn, stricter, wordsOf } from '../appservices/policy.ts';
import type { Registration } from '../appservices/registration.ts';
import type { Outcome } from './operations.ts';

export interface AppserviceOperationContext {
  readonly db: Database;
  readonly serverName: string;
  readonly clock: { now(): number };
  /** Undefined where no server runs. */
  readonly appservices?: Appservices;
}

/** Does one thing: `{"operation": "appservice.list"}`; undefined for what is none of these. */
export async function performOnAppservices(
  ctx: AppserviceOperationContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  switch (own(operation, 'operation')) {
    case 'appservice.add':
      return add(ctx, operation);
    case 'appservice.remove':
      return remove(ctx, stringAt(operation, 'id') ?? '');
    case 'appservice.list':
      return list(ctx);
    case 'appservice.status':
      return status(ctx, stringAt(operation, 'id'));
    default:
      return undefined;
  }
}

async function add(ctx: AppserviceOperationContext, operation: JsonObject): Promise<Outcome> {
  const text = stringAt(operation, 'registration') ?? '';
  const policy = policyIn(objectAt(operation, 'policy') ?? {});
  if (typeof policy === 'string') return refused(policy);
  const added = await addTo(ctx, text, policy);
  if (added.kind === 'refused') return refused(`it is not added: ${added.reason}`);
  const { id, url, sender } = added.registration;
  const words = wordsOf(stricter(policy, added.registration.policy));
  const told =
    url === undefined ? 'It has no address, and is told nothing.' : `It is told what happens at ${url}.`;
  return done(`"${id}" is added, as ${sender}. ${told}${words === '' ? '' : ` Its policy: ${words}.`}`);
}

async function addTo(
  ctx: AppserviceOperationContext,
  text: string,
  policy: Policy,
): Promise<{ kind: 'added'; registration: Registration } | { kind: 'refused'; reason: string }> {
  if (ctx.appservices !== undefined) {
    const added = await ctx.appservices.add(text, policy);
    return added.kind === 'added' ? { kind: 'added', registration: added.service.registration } : added;
  }
  const checked = await checkRegistration(text, ctx.serverName, await stored(ctx));
  if (checked.kind === 'refused') return checked;
  const { registration } = checked;
  const row = { id: registration.id, registration: text, policy: jsonOf(policy), addedTs: ctx.clock.now() };
  await ctx.db.write('appservices.add', (tx) => appservices.add(tx, row));
  return { kind: 'added', registration };
}

async function remove(ctx: AppserviceOperationContext, id: string): Promise<Outcome> {
  const removed = await removeFrom(ctx, id);
  switch (removed) {
    case 'removed':
      return done(`"${id}" is removed. Its users and rooms stay.`);
    case 'configured':
      return refused(`"${id}" is in app_service_config_files: take it out there, and start the server again`);
    case 'unknown':
      return refused(`there is no application service "${id}": see "appservice list"`);
  }
}

async function removeFrom(
  { db, appservices: running }: AppserviceOperationContext,
  id: string,
): Promise<'removed' | 'configured' | 'unknown'> {
  if (running !== undefined) {
    const removed = await running.remove(id);
    // One that was left out at the start is in the database still.
    if (removed !== 'unknown') return removed;
  }
  const isGone = await db.write('appservices.remove', (tx) => appservices.remove(tx, id));
  return isGone ? 'removed' : 'unknown';
}

async function list(ctx: AppserviceOperationContext): Promise<Outcome> {
  const services = await stored(ctx);
  const lines = services.map((service) => {
    const { id, registration, source } = service;
    const words = wordsOf(service.policy);
    const parts = [
      id,
      registration.url ?? '(no address)',
      registration.sender,
      source.file ?? 'added by command',
    ];
    return [...parts, ...(words === '' ? [] : [words])].join('  ');
  });
  return { kind: 'done', lines: lines.length > 0 ? lines : ['No application services yet.'] };
}

async function status(ctx: AppserviceOperationContext, id: string | undefined): Promise<Outcome> {
  const services = (await stored(ctx)).filter((service) => id === undefined || service.id === id);
  if (services.length === 0) {
    return id === undefined
      ? done('No application services yet.')
      : refused(`there is no application service "${id}": see "appservice list"`);
  }
  const since = await appservices.waitingSince(ctx.db);
  const lines = services.map((service) => `${service.id}: ${statusOf(ctx, service, since.get(service.id))}`);
  const isWrong = services.some(
    ({ id: one }) => (ctx.appservices?.statusOf(one)?.waiting?.attempts ?? 0) > 0,
  );
  return { kind: 'done', lines, isWrong };
}

function statusOf(
  ctx: AppserviceOperationContext,
  { id, registration }: Appservice,
  waitingSince: number | undefined,
): string {
  if (registration.url === undefined) return 'has no address, and is told nothing';
  const delivery = ctx.appservices?.statusOf(id);
  if (delivery === undefined) {
    if (waitingSince === undefined) return 'has what there was when the server stopped';
    return `a transaction waits since ${timeOf(waitingSince)}; the server does not run`;
  }
  const { waiting, taken } = delivery;
  if (waiting === undefined || waiting.attempts === 0)
    return `takes what it is told: ${taken} transactions since the start`;
  const { txnId, createdTs, attempts, problem = 'no answer yet' } = waiting;
  return `does not take transaction ${txnId}, which waits since ${timeOf(createdTs)}: ${problem} (${attempts} attempts)`;
}

/** All services of a running server; else those that were added by command. */
async function stored(ctx: AppserviceOperationContext): Promise<Appservice[]> {
  if (ctx.appservices !== undefined) return ctx.appservices.all();
  const { serverName } = ctx;
  const services: Appservice[] = [];
  for (const { registration: text, policy } of await appservices.list(ctx.db)) {
    const checked = await checkRegistration(text, serverName, services);
    if (checked.kind === 'refused') continue;
    const { registration } = checked;
    const source = { file: undefined, policy: stricter(policyFrom(policy), registration.policy) };
    services.push(new Appservice(registration, source, { serverName, tokenInQuery: false }));
  }
  return services;
}

/** The policy of the flags of the command. */
export function policyOfFlags(flags: {
  readonly noFederation: boolean;
  readonly noPublicRooms: boolean;
  readonly maxMembers: string | undefined;
}): JsonObject | undefined {
  const { noFederation, noPublicRooms, maxMembers } = flags;
  if (maxMembers !== undefined && !/^[1-9]\d{0,5}$/.test(maxMembers)) return undefined;
  const policy = {
    ...FREE,
    federation: !noFederation,
    publicRooms: !noPublicRooms,
    maxMembers: maxMembers === undefined ? undefined : Number(maxMembers),
  };
  return JSON.parse(jsonOf(policy)) as JsonObject;
}

function timeOf(ts: number): string {
  return new Date(ts).toISOString();
}

function done(line: string): Outcome {
  return { kind: 'done', lines: [line] };
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}
