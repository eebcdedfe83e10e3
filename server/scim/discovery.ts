/** What this service can do: https://www.rfc-editor.org/rfc/rfc7644#section-4 */

import type { Json, JsonObject } from '#keys/json.ts';
import { MOST_RESULTS } from './list.ts';
import { type Attribute, GROUP, type Model, USER } from './model.ts';

const CONFIG_SCHEMA = 'urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig';
const RESOURCE_TYPE_SCHEMA = 'urn:ietf:params:scim:schemas:core:2.0:ResourceType';
const SCHEMA_SCHEMA = 'urn:ietf:params:scim:schemas:core:2.0:Schema';
const MODELS: readonly Model[] = [USER, GROUP];

/** `/ServiceProviderConfig` */
export function serviceProviderConfig(base: string): JsonObject {
  return {
    schemas: [CONFIG_SCHEMA],
    patch: { supported: true },
    bulk: { supported: false, maxOperations: 0, maxPayloadSize: 0 },
    filter: { supported: true, maxResults: MOST_RESULTS },
    changePassword: { supported: true },
    sort: { supported: false },
    etag: { supported: true },
    authenticationSchemes: [
      {
        ...{ type: 'oauthbearertoken', name: 'Bearer token', primary: true },
        description: 'A token that the operator of this server has set (option scim_token).',
        specUri: 'https://www.rfc-editor.org/rfc/rfc6750',
      },
    ],
    meta: { resourceType: 'ServiceProviderConfig', location: `${base}/ServiceProviderConfig` },
  };
}

/** `/ResourceTypes`, each by its id. */
export function resourceTypes(base: string): ReadonlyMap<string, JsonObject> {
  const typeOf = ({ name, endpoint, description, schema }: Model): JsonObject => ({
    schemas: [RESOURCE_TYPE_SCHEMA],
    ...{ id: name, name, endpoint, description, schema, schemaExtensions: [] },
    meta: { resourceType: 'ResourceType', location: `${base}/ResourceTypes/${name}` },
  });
  return new Map(MODELS.map((model) => [model.name, typeOf(model)]));
}

/** `/Schemas`, each by its URN. */
export function schemas(base: string): ReadonlyMap<string, JsonObject> {
  const schemaOf = ({ name, description, schema, attributes }: Model): JsonObject => ({
    schemas: [SCHEMA_SCHEMA],
    ...{ id: schema, name, description, attributes: attributes.map(attributeJson) },
    meta: { resourceType: 'Schema', location: `${base}/Schemas/${schema}` },
  });
  return new Map(MODELS.map((model) => [model.schema, schemaOf(model)]));
}

/** A list of all of them. */
export function listOf(resources: Iterable<JsonObject>): JsonObject {
  const all = [...resources];
  return {
    schemas: ['urn:ietf:params:scim:api:messages:2.0:ListResponse'],
    ...{ totalResults: all.length, startIndex: 1, itemsPerPage: all.length, Resources: all },
  };
}

function attributeJson(attribute: Attribute): Json {
  const { subAttributes, canonicalValues, referenceTypes } = attribute;
  return {
    name: attribute.name,
    type: attribute.type,
    multiValued: attribute.multiValued ?? false,
    description: attribute.description,
    required: attribute.required ?? false,
    caseExact: attribute.caseExact ?? false,
    mutability: attribute.mutability ?? 'readWrite',
    returned: attribute.returned ?? 'default',
    uniqueness: attribute.uniqueness ?? 'none',
    ...(canonicalValues !== undefined && { canonicalValues }),
    ...(referenceTypes !== undefined && { referenceTypes }),
    ...(subAttributes !== undefined && { subAttributes: subAttributes.map(attributeJson) }),
  };
}
