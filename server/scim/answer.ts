/** How users and groups are shown: https://www.rfc-editor.org/rfc/rfc7643#section-3 */

import { isObject, type Json, type JsonObject } from '#keys/json.ts';
import type { ScimGroup } from '#storage/scim-groups.ts';
import type { ScimUser } from '#storage/scim-users.ts';
import { invalidValue } from './errors.ts';
import { type AttributePath, attributePath } from './filter.ts';
import { GROUP, type Model, subAttribute, USER } from './model.ts';

/** Which attributes a client wants. */
export type Selection =
  | { readonly kind: 'default' }
  | { readonly kind: 'only' | 'without'; readonly paths: readonly AttributePath[] };

const MAX_NAMES = 100;
const DEFAULT: Selection = { kind: 'default' };

/** Of the parameters `attributes` and `excludedAttributes`, which are lists of names. */
export function selectionOf(only: Json | undefined, without: Json | undefined): Selection {
  if (only !== undefined && only !== null && only !== '') return { kind: 'only', paths: pathsOf(only) };
  if (without === undefined || without === null || without === '') return DEFAULT;
  return { kind: 'without', paths: pathsOf(without) };
}

/** Whether an attribute is to be shown, or some of it; its name in lower case. */
export function wants(selection: Selection, name: string): boolean {
  if (selection.kind === 'default') return true;
  const isNamed = selection.paths.some((path) => path.name === name);
  if (selection.kind === 'only') return isNamed;
  return !selection.paths.some((path) => path.name === name && path.sub === undefined);
}

/** The resource as a client wants it. `id` and `schemas` are "always" returned. */
export function selected(model: Model, resource: JsonObject, selection: Selection): JsonObject {
  if (selection.kind === 'default') return resource;
  const shown: [string, Json][] = [];
  for (const [name, value] of Object.entries(resource)) {
    const attribute = model.byName.get(name.toLowerCase());
    if (attribute === undefined) continue;
    const named = selection.paths.filter((path) => isOf(model, path) && path.name === name.toLowerCase());
    const subs = named.map(({ sub }) => (sub === undefined ? undefined : subAttribute(attribute, sub)?.name));
    const isWhole = subs.includes(undefined);
    if (attribute.returned === 'always') shown.push([name, value]);
    else if (selection.kind === 'only' ? isWhole : named.length === 0) shown.push([name, value]);
    else if (named.length > 0 && !isWhole) shown.push([name, partsOf(value, subs, selection.kind)]);
  }
  return Object.fromEntries(shown);
}

export function versionOf({ version }: { readonly version: number }): string {
  return `W/"${version}"`;
}

/** The user; `groups` where they are wanted. `base`: the address of the SCIM service. */
export function userResource(
  base: string,
  user: ScimUser,
  groups: readonly Pick<ScimGroup, 'id' | 'displayName'>[] = [],
): JsonObject {
  const { id, userName, externalId, attributes, active, isActiveStated } = user;
  return {
    schemas: [USER.schema],
    id,
    ...(externalId !== undefined && { externalId }),
    userName,
    ...attributes,
    ...(isActiveStated && { active }),
    ...(groups.length > 0 && {
      groups: groups.map((group) => ({
        ...{ value: group.id, $ref: `${base}/Groups/${group.id}` },
        ...{ display: group.displayName, type: 'direct' },
      })),
    }),
    meta: metaOf(USER, base, user),
  };
}

/** The group; `members` where they are wanted. */
export function groupResource(base: string, group: ScimGroup, members: readonly string[] = []): JsonObject {
  const { id, displayName, externalId } = group;
  return {
    schemas: [GROUP.schema],
    id,
    ...(externalId !== undefined && { externalId }),
    displayName,
    ...(members.length > 0 && {
      members: members.map((value) => ({ value, $ref: `${base}/Users/${value}`, type: 'User' })),
    }),
    meta: metaOf(GROUP, base, group),
  };
}

function metaOf(model: Model, base: string, resource: ScimUser | ScimGroup): JsonObject {
  return {
    resourceType: model.name,
    created: new Date(resource.createdTs).toISOString(),
    lastModified: new Date(resource.modifiedTs).toISOString(),
    location: `${base}${model.endpoint}/${resource.id}`,
    version: versionOf(resource),
  };
}

/** Some parts of a value, or the others. */
function partsOf(value: Json, names: readonly (string | undefined)[], which: 'only' | 'without'): Json {
  if (Array.isArray(value)) return value.map((each) => partsOf(each, names, which));
  if (!isObject(value)) return value;
  const parts = Object.entries(value).filter(([name]) => names.includes(name) === (which === 'only'));
  return Object.fromEntries(parts);
}

function isOf(model: Model, { urn }: AttributePath): boolean {
  return urn === undefined || urn === model.schema.toLowerCase();
}

function pathsOf(given: Json): readonly AttributePath[] {
  const names = typeof given === 'string' ? given.split(',', MAX_NAMES + 1) : given;
  if (!Array.isArray(names) || names.length > MAX_NAMES) {
    throw invalidValue(`attributes must be a list of ${MAX_NAMES} names at most`);
  }
  return names.map((name: Json) => {
    const path = typeof name === 'string' ? attributePath(name.trim()) : undefined;
    if (path === undefined) throw invalidValue('attributes names something that is no attribute');
    return path;
  });
}
