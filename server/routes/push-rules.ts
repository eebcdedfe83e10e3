/** https://spec.matrix.org/v1.19/client-server-api/#push-rules-api */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidParam, missingParam, notFound, tooLarge, unknown } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, own, stringAt } from '#keys/json.ts';
import * as pushRules from '#storage/push-rules.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalBoolean, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import {
  findRule,
  type PushRule,
  type PushRuleset,
  pushRulesContent,
  type RulePlace,
  rulesetOf,
  withChange,
  withoutRule,
  withRule,
} from '../push/ruleset.ts';
import { type Query, queryString } from '../query.ts';

interface RuleParams {
  kind: string;
  ruleId: string;
}

type RuleRequest = FastifyRequest<{ Params: RuleParams; Querystring: Query }>;

const MOST_RULES = 1_000;
const MOST_RULE_BYTES = 2_048;
const MOST_ID_BYTES = 300;
/** All of a user's, since they are read and told together. */
const MOST_CHARACTERS = 256 * 1_024;
const RULE = '/_matrix/client/v3/pushrules/global/:kind/:ruleId';
/** "Older versions of the Matrix specification included the `dont_notify` and `coalesce` actions." */
const ACTIONS: ReadonlySet<Json> = new Set(['notify', 'dont_notify', 'coalesce']);

/** A user's push rules: to read, to make, to change and to remove. */
export function pushRulesRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const options = ctx.config;
  const read = async (request: FastifyRequest): Promise<PushRuleset> => {
    const { userId } = await requireRequester(ctx, request);
    return rulesetOf(userId, (await pushRules.get(ctx.db, userId)).own, options);
  };

  app.get('/_matrix/client/v3/pushrules/', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    return pushRulesContent(userId, (await pushRules.get(ctx.db, userId)).own, options);
  });

  app.get('/_matrix/client/v3/pushrules/global/', read);

  app.get(RULE, async (request: RuleRequest) => ruleOf(await read(request), request));

  app.get(`${RULE}/enabled`, async (request: RuleRequest) => ({
    enabled: ruleOf(await read(request), request).enabled,
  }));

  app.get(`${RULE}/actions`, async (request: RuleRequest) => ({
    actions: ruleOf(await read(request), request).actions,
  }));

  app.put(RULE, async (request: RuleRequest) => {
    const userId = await requireChange(ctx, request);
    const kind = kindOf(request);
    const rule = newRule(kind, ruleIdOf(request), bodyObject(request));
    const place = placeOf(request);
    return change(ctx, userId, (own) => {
      const changed = withRule(own, kind, rule, place);
      if (changed === undefined) {
        throw unknown(400, `before/after rule not found: ${place.before ?? place.after}`);
      }
      if (changed.rules[kind].length > own.rules[kind].length && countOf(own) >= MOST_RULES)
        throw tooLarge('There are too many push rules');
      return changed;
    });
  });

  app.delete(RULE, async (request: RuleRequest) => {
    const userId = await requireChange(ctx, request);
    const { kind, ruleId } = request.params;
    return change(ctx, userId, (own) => withoutRule(own, kind, ruleId));
  });

  app.put(`${RULE}/enabled`, async (request: RuleRequest) => {
    const userId = await requireChange(ctx, request);
    const enabled = optionalBoolean(bodyObject(request), 'enabled');
    if (enabled === undefined) throw missingParam('enabled');
    return change(ctx, userId, (own) => withChange(userId, own, { ...request.params, options }, { enabled }));
  });

  app.put(`${RULE}/actions`, async (request: RuleRequest) => {
    const userId = await requireChange(ctx, request);
    const actions = actionsOf(bodyObject(request));
    requireSmall(actions);
    return change(ctx, userId, (own) => withChange(userId, own, { ...request.params, options }, { actions }));
  });
}

async function requireChange(ctx: ServerContext, request: RuleRequest): Promise<UserId> {
  const { userId } = await requireRequester(ctx, request);
  ctx.limits.take('account_data', userId);
  return userId;
}

/** Stores what `edit` makes of a user's rules, which answers undefined where the rule is not there. */
async function change(
  ctx: ServerContext,
  userId: UserId,
  edit: (own: pushRules.OwnRules) => pushRules.OwnRules | undefined,
): Promise<JsonObject> {
  await ctx.db.write('pushRules.set', async (tx) => {
    const { own } = await pushRules.get(tx, userId);
    const changed = edit(own);
    if (changed === undefined) throw noRule();
    if (JSON.stringify(changed).length > MOST_CHARACTERS) throw tooLarge('There are too many push rules');
    await pushRules.set(tx, ctx.streams, userId, changed);
  });
  return {};
}

function ruleOf(ruleset: PushRuleset, { params }: RuleRequest): PushRule {
  const rule = findRule(ruleset, params.kind, params.ruleId);
  if (rule === undefined) throw noRule();
  return rule;
}

function noRule() {
  return notFound('The push rule was not found.');
}

function countOf({ rules }: pushRules.OwnRules): number {
  return pushRules.ruleKinds.reduce((sum, kind) => sum + rules[kind].length, 0);
}

function kindOf({ params }: RuleRequest): pushRules.RuleKind {
  const kind = pushRules.ruleKinds.find((candidate) => candidate === params.kind);
  if (kind === undefined) throw invalidParam('There is no such kind of push rule');
  return kind;
}

/**
 * "If the string starts with a dot ("."), the request MUST be rejected as this is reserved for server-default rules.
 * Slashes ("/") and backslashes ("\\") are also not allowed."
 */
function ruleIdOf({ params: { ruleId } }: RuleRequest): string {
  if (ruleId.startsWith('.'))
    throw invalidParam('The rules of which the id starts with a dot are those of the server');
  if (ruleId === '' || /[/\\]/.test(ruleId))
    throw invalidParam('rule_id has a slash or a backslash, or is empty');
  if (Buffer.byteLength(ruleId) > MOST_ID_BYTES) throw invalidParam('rule_id is too long');
  return ruleId;
}

function placeOf({ query }: RuleRequest): RulePlace {
  const place = { before: queryString(query, 'before'), after: queryString(query, 'after') };
  // "It is not possible to add a rule relative to a predefined server rule."
  if (place.before?.startsWith('.') === true || place.after?.startsWith('.') === true)
    throw invalidParam('before and after name a rule of the user');
  return place;
}

function newRule(kind: pushRules.RuleKind, ruleId: string, body: JsonObject): pushRules.OwnRule {
  const rule: pushRules.OwnRule = { rule_id: ruleId, enabled: true, actions: actionsOf(body) };
  const made = { ...rule, ...parametersOf(kind, body) };
  requireSmall(made);
  return made;
}

function parametersOf(kind: pushRules.RuleKind, body: JsonObject): JsonObject {
  if (kind === 'content') return { pattern: requiredString(body, 'pattern') };
  if (kind !== 'override' && kind !== 'underride') return {};
  const conditions = own(body, 'conditions') ?? [];
  if (!Array.isArray(conditions) || !conditions.every(isCondition))
    throw invalidParam('conditions is not a list of objects with a kind');
  return { conditions };
}

function isCondition(value: Json): boolean {
  return isObject(value) && stringAt(value, 'kind') !== undefined;
}

function actionsOf(body: JsonObject): readonly Json[] {
  const actions = own(body, 'actions');
  if (actions === undefined) throw missingParam('actions');
  if (!Array.isArray(actions) || !actions.every(isAction))
    throw invalidParam('actions is not a list of notify and set_tweak');
  return actions;
}

function isAction(value: Json): boolean {
  return ACTIONS.has(value) || (isObject(value) && stringAt(value, 'set_tweak') !== undefined);
}

function requireSmall(made: Json): void {
  if (Buffer.byteLength(JSON.stringify(made)) > MOST_RULE_BYTES)
    throw tooLarge(`A push rule is limited to ${MOST_RULE_BYTES} bytes`);
}
