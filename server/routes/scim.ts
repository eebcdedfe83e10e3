/**
 * SCIM 2.0: how a directory keeps the users and groups of this server. https://www.rfc-editor.org/rfc/rfc7644
 *
 * Absent unless the operator has set a token. Its errors are those of the RFC, not of Matrix.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { JsonObject } from '#keys/json.ts';
import type { ScimGroup } from '#storage/scim-groups.ts';
import * as scimGroups from '#storage/scim-groups.ts';
import type { ScimUser } from '#storage/scim-users.ts';
import type { ServerContext } from '../context.ts';
import { ScimTokens } from '../scim/access.ts';
import {
  groupResource,
  type Selection,
  selected,
  selectionOf,
  userResource,
  versionOf,
  wants,
} from '../scim/answer.ts';
import { listOf, resourceTypes, schemas, serviceProviderConfig } from '../scim/discovery.ts';
import { invalidSyntax, noSuchResource, notImplemented } from '../scim/errors.ts';
import {
  createGroup,
  deleteGroup,
  MOST_MEMBERS,
  memberIdsOf,
  patchGroup,
  replaceGroup,
  required as requiredGroup,
} from '../scim/groups.ts';
import { answerRefusal, answerUnrouted } from '../scim/http.ts';
import { list, queryOf } from '../scim/list.ts';
import { GROUP, type Model, USER } from '../scim/model.ts';
import { type Attributes, changed, changesOf } from '../scim/patch.ts';
import { changeUser, createUser, deleteUser, required as requiredUser } from '../scim/users.ts';
import { takenResource } from '../scim/values.ts';

type Id = { Params: { id: string } };
type Request = FastifyRequest<{ Querystring: JsonObject }>;
type IdRequest = FastifyRequest<Id & { Querystring: JsonObject }>;

const PREFIX = '/scim/v2';
const JSON_TYPE = 'application/scim+json';
const BODY_LIMIT = 2 * 1_024 * 1_024;

export function scimRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const { scimToken, scimTokenFile } = ctx.config;
  if (scimToken === undefined && scimTokenFile === undefined) return;
  const tokens = new ScimTokens(ctx);
  app.register(
    async (scope) => {
      // Before the body is read: strangers send none.
      scope.addHook('onRequest', (request) => tokens.require(request));
      scope.addHook('onRoute', (route) => {
        route.bodyLimit = BODY_LIMIT;
      });
      scope.setErrorHandler((error, request, reply) =>
        answerRefusal({ log: ctx.log, error, request, reply }),
      );
      answerUnrouted(scope);
      discoveryRoutes(scope, ctx);
      listRoutes(scope, ctx);
      userRoutes(scope, ctx);
      groupRoutes(scope, ctx);
      // What `ServiceProviderConfig` says there is not.
      scope.post('/Bulk', () => Promise.reject(notImplemented('Bulk')));
      scope.route({
        method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
        url: '/Me',
        handler: () => Promise.reject(notImplemented('/Me')),
      });
    },
    { prefix: PREFIX },
  );
}

function discoveryRoutes(scope: FastifyInstance, ctx: ServerContext): void {
  scope.get('/ServiceProviderConfig', (request, reply) =>
    send(reply, serviceProviderConfig(baseOf(ctx, request))),
  );
  for (const [path, all] of [
    ['/ResourceTypes', resourceTypes],
    ['/Schemas', schemas],
  ] as const) {
    scope.get(path, (request, reply) => send(reply, listOf(all(baseOf(ctx, request)).values())));
    scope.get<Id>(`${path}/:id`, (request, reply) => {
      const found = all(baseOf(ctx, request)).get(request.params.id);
      if (found === undefined) throw noSuchResource('resource', request.params.id);
      return send(reply, found);
    });
  }
}

function listRoutes(scope: FastifyInstance, ctx: ServerContext): void {
  const answer = async (request: FastifyRequest, reply: FastifyReply, models: readonly Model[]) => {
    const isSearch = request.method === 'POST';
    const parameters = isSearch ? objectOf(request) : request.query;
    const query = queryOf(isJsonObject(parameters) ? parameters : {});
    return send(reply, await list(ctx.db, baseOf(ctx, request), { models, query }));
  };
  for (const [path, models] of [
    ['', [USER, GROUP]],
    [USER.endpoint, [USER]],
    [GROUP.endpoint, [GROUP]],
  ] as const) {
    scope.get(path === '' ? '/' : path, (request, reply) => answer(request, reply, models));
    scope.post(`${path}/.search`, (request, reply) => answer(request, reply, models));
  }
}

function userRoutes(scope: FastifyInstance, ctx: ServerContext): void {
  scope.post<{ Querystring: JsonObject }>('/Users', async (request, reply) => {
    const selection = selectionIn(request);
    const user = await createUser(ctx, takenResource(USER, objectOf(request)));
    return sendUser(ctx, { request, reply, selection }, user, 201);
  });
  scope.get<Id & { Querystring: JsonObject }>('/Users/:id', async (request, reply) => {
    const selection = selectionIn(request);
    const user = await requiredUser(ctx.db, request.params.id);
    return isKnown(request, user)
      ? notModified(reply, user)
      : sendUser(ctx, { request, reply, selection }, user, 200);
  });
  scope.put<Id & { Querystring: JsonObject }>('/Users/:id', async (request, reply) => {
    const selection = selectionIn(request);
    const taken = takenResource(USER, objectOf(request));
    // What says nothing of it does not unlock anybody.
    const to = (before: Attributes): Attributes => {
      const active = taken.get('active') ?? before.get('active');
      return active === undefined ? taken : new Map([...taken, ['active', active]]);
    };
    const user = await changeUser(ctx, request.params.id, { ifMatch: ifMatchOf(request), to });
    return sendUser(ctx, { request, reply, selection }, user, 200);
  });
  scope.patch<Id & { Querystring: JsonObject }>('/Users/:id', async (request, reply) => {
    const selection = selectionIn(request);
    const changes = changesOf(USER, objectOf(request));
    const ifMatch = ifMatchOf(request);
    const user = await changeUser(ctx, request.params.id, {
      ifMatch,
      to: (before) => changed(before, changes),
    });
    return sendUser(ctx, { request, reply, selection }, user, 200);
  });
  scope.delete<Id & { Querystring: JsonObject }>('/Users/:id', async (request, reply) => {
    await deleteUser(ctx, request.params.id, ifMatchOf(request));
    return reply.code(204).send();
  });
}

function groupRoutes(scope: FastifyInstance, ctx: ServerContext): void {
  scope.post<{ Querystring: JsonObject }>('/Groups', async (request, reply) => {
    const selection = selectionIn(request);
    const body = objectOf(request);
    const group = await createGroup(ctx, takenResource(GROUP, body), memberIdsOf(membersIn(body)));
    return sendGroup(ctx, { request, reply, selection }, group, 201);
  });
  scope.get<Id & { Querystring: JsonObject }>('/Groups/:id', async (request, reply) => {
    const selection = selectionIn(request);
    const group = await requiredGroup(ctx.db, request.params.id);
    return isKnown(request, group)
      ? notModified(reply, group)
      : sendGroup(ctx, { request, reply, selection }, group, 200);
  });
  scope.put<Id & { Querystring: JsonObject }>('/Groups/:id', async (request, reply) => {
    const selection = selectionIn(request);
    const body = objectOf(request);
    const group = await replaceGroup(ctx, request.params.id, {
      ifMatch: ifMatchOf(request),
      attributes: takenResource(GROUP, body),
      members: memberIdsOf(membersIn(body)),
    });
    return sendGroup(ctx, { request, reply, selection }, group, 200);
  });
  scope.patch<Id & { Querystring: JsonObject }>('/Groups/:id', async (request, reply) => {
    const selection = selectionIn(request);
    const changes = changesOf(GROUP, objectOf(request));
    const group = await patchGroup(ctx, request.params.id, { ifMatch: ifMatchOf(request), changes });
    // A change of one member is not answered with all of them, unless that is asked for.
    if (selection.kind !== 'only') return reply.header('etag', versionOf(group)).code(204).send();
    return sendGroup(ctx, { request, reply, selection }, group, 200);
  });
  scope.delete<Id & { Querystring: JsonObject }>('/Groups/:id', async (request, reply) => {
    await deleteGroup(ctx, request.params.id, ifMatchOf(request));
    return reply.code(204).send();
  });
}

interface Exchange {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly selection: Selection;
}

async function sendUser(
  ctx: ServerContext,
  { request, reply, selection }: Exchange,
  user: ScimUser,
  status: number,
): Promise<FastifyReply> {
  const base = baseOf(ctx, request);
  const groups = wants(selection, 'groups') ? await scimGroups.ofUsers(ctx.db, [user.nid]) : undefined;
  const resource = userResource(base, user, groups?.get(user.nid));
  locate(reply, user, status === 201 ? `${base}/Users/${user.id}` : undefined);
  return send(reply.code(status), selected(USER, resource, selection));
}

async function sendGroup(
  ctx: ServerContext,
  { request, reply, selection }: Exchange,
  group: ScimGroup,
  status: number,
): Promise<FastifyReply> {
  const base = baseOf(ctx, request);
  const members = wants(selection, 'members')
    ? await scimGroups.members(ctx.db, group.nid, MOST_MEMBERS)
    : undefined;
  locate(reply, group, status === 201 ? `${base}/Groups/${group.id}` : undefined);
  return send(reply.code(status), selected(GROUP, groupResource(base, group, members), selection));
}

function locate(reply: FastifyReply, resource: ScimUser | ScimGroup, location: string | undefined): void {
  reply.header('etag', versionOf(resource));
  if (location !== undefined) reply.header('location', location);
}

function send(reply: FastifyReply, resource: JsonObject): FastifyReply {
  // As bytes: the framework adds a charset to all else.
  return reply.type(JSON_TYPE).send(Buffer.from(JSON.stringify(resource)));
}

function notModified(reply: FastifyReply, resource: ScimUser | ScimGroup): FastifyReply {
  return reply.header('etag', versionOf(resource)).code(304).send();
}

/** Where the service is, as the client reaches it. */
function baseOf({ config }: ServerContext, request: FastifyRequest): string {
  return `${config.publicBaseurl ?? `${request.protocol}://${request.host}`}${PREFIX}`;
}

function selectionIn({ query }: Request | IdRequest): Selection {
  return selectionOf(query.attributes, query.excludedAttributes);
}

function objectOf({ body }: FastifyRequest): JsonObject {
  if (!isJsonObject(body)) throw invalidSyntax('The body must be a JSON object');
  return body;
}

function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function membersIn(body: JsonObject): JsonObject[string] | undefined {
  const key = Object.keys(body).find((each) => each.toLowerCase() === 'members');
  return key === undefined ? undefined : body[key];
}

/** "If-Match": the client changes the version that it has read, or none. */
function ifMatchOf({ headers }: FastifyRequest): (resource: { readonly version: number }) => boolean {
  const wanted = headers['if-match'];
  return (resource) =>
    wanted === undefined || tagsOf(wanted).some((tag) => tag === '*' || tag === versionOf(resource));
}

function isKnown({ headers }: FastifyRequest, resource: { readonly version: number }): boolean {
  const known = headers['if-none-match'];
  return known !== undefined && tagsOf(known).some((tag) => tag === '*' || tag === versionOf(resource));
}

/** Some clients leave out the mark of a weak tag. */
function tagsOf(header: string): string[] {
  return header.split(',').map((tag) => tag.trim().replace(/^"/, 'W/"'));
}
