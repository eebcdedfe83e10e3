/** Refusals in the form of https://www.rfc-editor.org/rfc/rfc7644#section-3.12 */

import type { JsonObject } from '#keys/json.ts';

/** "A SCIM detail error keyword", of the table in the section. */
export type ScimType =
  | 'invalidFilter'
  | 'tooMany'
  | 'uniqueness'
  | 'mutability'
  | 'invalidSyntax'
  | 'invalidPath'
  | 'noTarget'
  | 'invalidValue';

const SCHEMA = 'urn:ietf:params:scim:api:messages:2.0:Error';

export class ScimError extends Error {
  override readonly name = 'ScimError';
  readonly status: number;
  readonly scimType: ScimType | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    detail: string,
    options: { readonly scimType?: ScimType; readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(detail);
    this.status = status;
    this.scimType = options.scimType;
    this.headers = options.headers ?? {};
  }

  get body(): JsonObject {
    return {
      schemas: [SCHEMA],
      status: String(this.status),
      ...(this.scimType !== undefined && { scimType: this.scimType }),
      detail: this.message,
    };
  }
}

/** 400 with a keyword. */
export function badRequest(scimType: ScimType, detail: string): ScimError {
  return new ScimError(400, detail, { scimType });
}

export function invalidValue(detail: string): ScimError {
  return badRequest('invalidValue', detail);
}

export function invalidFilter(detail: string): ScimError {
  return badRequest('invalidFilter', detail);
}

export function invalidPath(detail: string): ScimError {
  return badRequest('invalidPath', detail);
}

export function invalidSyntax(detail: string): ScimError {
  return badRequest('invalidSyntax', detail);
}

/** 409: another resource has the value. */
export function notUnique(detail: string): ScimError {
  return new ScimError(409, detail, { scimType: 'uniqueness' });
}

export function noSuchResource(kind: string, id: string): ScimError {
  return new ScimError(404, `There is no ${kind} ${id.slice(0, 64)}`);
}

/** 412: "If-Match" names another version. */
export function otherVersion(): ScimError {
  return new ScimError(412, 'The resource has changed meanwhile: read it again');
}

/** 501: what `ServiceProviderConfig` says is not there. */
export function notImplemented(what: string): ScimError {
  return new ScimError(501, `${what} is not supported`);
}
