/** https://spec.matrix.org/v1.19/client-server-api/#push-rules-api */

import type { FastifyInstance } from 'fastify';
import { notFound } from '#federation/errors.ts';
import { requireRequester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { defaultRules, type PushRule, type PushRuleset, ruleKinds } from '../push/default-rules.ts';

interface RuleParams {
  kind: string;
  ruleId: string;
}

/** Reading of push rules: every user has the server-default ones. */
export function pushRulesRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/client/v3/pushrules/', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    return { global: defaultRules(userId) };
  });

  app.get('/_matrix/client/v3/pushrules/global/', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    return defaultRules(userId);
  });

  app.get<{ Params: RuleParams }>('/_matrix/client/v3/pushrules/global/:kind/:ruleId', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    return ruleOf(defaultRules(userId), request.params);
  });

  app.get<{ Params: RuleParams }>(
    '/_matrix/client/v3/pushrules/global/:kind/:ruleId/enabled',
    async (request) => {
      const { userId } = await requireRequester(ctx, request);
      return { enabled: ruleOf(defaultRules(userId), request.params).enabled };
    },
  );

  app.get<{ Params: RuleParams }>(
    '/_matrix/client/v3/pushrules/global/:kind/:ruleId/actions',
    async (request) => {
      const { userId } = await requireRequester(ctx, request);
      return { actions: ruleOf(defaultRules(userId), request.params).actions };
    },
  );
}

function ruleOf(ruleset: PushRuleset, { kind, ruleId }: RuleParams): PushRule {
  const known = ruleKinds.find((candidate) => candidate === kind);
  const rule = known && ruleset[known].find((candidate) => candidate.rule_id === ruleId);
  if (rule === undefined) throw notFound('Push rule not found');
  return rule;
}
