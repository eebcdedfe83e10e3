/** Whether a resource fulfils a filter: https://www.rfc-editor.org/rfc/rfc7644#section-3.4.2.2 */

import { isObject, type Json, type JsonObject, own } from '#keys/json.ts';
import { invalidFilter } from './errors.ts';
import type { AttributePath, CompareOp, Filter } from './filter.ts';
import { type Attribute, type Model, subAttribute } from './model.ts';

type Compare = Extract<Filter, { kind: 'compare' }>;

/** Finds the attribute that a filter names, at the place that is looked at. */
type Lookup = (
  path: AttributePath,
) => { readonly attribute: Attribute; readonly sub: Attribute | undefined } | undefined;

/** "If the attribute is not in the schema", nothing matches. */
export function matches(model: Model, resource: JsonObject, filter: Filter): boolean {
  return holds(resource, filter, (path) => attributeIn(model, path));
}

/** The same for one value of a multi-valued attribute, of whose parts the filter speaks. */
export function valueMatches(attribute: Attribute, value: Json, filter: Filter): boolean {
  const object = isObject(value) ? value : { value };
  return holds(object, filter, ({ name, sub }) => {
    const part = sub === undefined ? subAttribute(attribute, name) : undefined;
    return part && { attribute: part, sub: undefined };
  });
}

/** The attribute of a model that a path names. */
export function attributeIn(model: Model, path: AttributePath): ReturnType<Lookup> {
  if (path.urn !== undefined && path.urn !== model.schema.toLowerCase()) return undefined;
  const attribute = model.byName.get(path.name);
  if (attribute === undefined) return undefined;
  if (path.sub === undefined) return { attribute, sub: undefined };
  const sub = subAttribute(attribute, path.sub);
  return sub && { attribute, sub };
}

/** Whether a filter says something of an attribute, whose name is in lower case. */
export function mentions(filter: Filter, name: string): boolean {
  switch (filter.kind) {
    case 'and':
    case 'or':
      return mentions(filter.left, name) || mentions(filter.right, name);
    case 'not':
      return mentions(filter.filter, name);
    case 'present':
    case 'compare':
    case 'values':
      return filter.path.name === name;
  }
}

function holds(object: JsonObject, filter: Filter, lookup: Lookup): boolean {
  switch (filter.kind) {
    case 'and':
      return holds(object, filter.left, lookup) && holds(object, filter.right, lookup);
    case 'or':
      return holds(object, filter.left, lookup) || holds(object, filter.right, lookup);
    case 'not':
      return !holds(object, filter.filter, lookup);
    case 'present': {
      const found = lookup(filter.path);
      return found !== undefined && valuesOf(object, found).some(isAssigned);
    }
    case 'values': {
      const found = lookup(filter.path);
      if (found === undefined || filter.path.sub !== undefined) return false;
      const { attribute } = found;
      return valuesOf(object, found).some((value) => valueMatches(attribute, value, filter.filter));
    }
    case 'compare':
      return compareHolds(object, filter, lookup(filter.path));
  }
}

function compareHolds(object: JsonObject, { op, value }: Compare, found: ReturnType<Lookup>): boolean {
  if (found === undefined) return false;
  // "emails eq ..." speaks of the values of the addresses.
  const { attribute, sub = attribute.type === 'complex' ? subAttribute(attribute, 'value') : undefined } =
    found;
  const compared = sub ?? attribute;
  if (compared.type === 'complex') throw invalidFilter(`${compared.name} has parts: name one of them`);
  const values = valuesOf(object, { attribute, sub }).filter(isAssigned);
  if (op === 'ne')
    return !values.some((each) => isEqual(each, value, compared)) && !(value === null && values.length === 0);
  if (value === null) return op === 'eq' && values.length === 0;
  return values.some((each) => compare(each, op, { value, attribute: compared }));
}

function compare(
  actual: Json,
  op: CompareOp,
  { value, attribute }: { readonly value: string | number | boolean; readonly attribute: Attribute },
): boolean {
  if (op === 'eq') return isEqual(actual, value, attribute);
  if (attribute.type === 'boolean')
    throw invalidFilter(`${attribute.name} is true or false: it has no order`);
  const [left, right] = [comparable(actual, attribute), comparable(value, attribute)];
  if (left === undefined || right === undefined) return false;
  switch (op) {
    case 'co':
      return String(left).includes(String(right));
    case 'sw':
      return String(left).startsWith(String(right));
    case 'ew':
      return String(left).endsWith(String(right));
    case 'gt':
      return left > right;
    case 'lt':
      return left < right;
    case 'ge':
      return left >= right;
    case 'le':
      return left <= right;
    case 'ne':
      return left !== right;
  }
}

function isEqual(actual: Json, value: Compare['value'], attribute: Attribute): boolean {
  if (attribute.type === 'boolean') return String(actual).toLowerCase() === String(value).toLowerCase();
  const left = comparable(actual, attribute);
  return left !== undefined && value !== null && left === comparable(value, attribute);
}

/** Times by what they mean, texts by their case where it counts. */
function comparable(value: Json, attribute: Attribute): string | number | undefined {
  if (attribute.type === 'dateTime') {
    const time = Date.parse(String(value));
    return Number.isNaN(time) ? undefined : time;
  }
  if (typeof value === 'number') return value;
  if (typeof value !== 'string') return undefined;
  return attribute.caseExact === true ? value : value.toLowerCase();
}

function valuesOf(
  object: JsonObject,
  { attribute, sub }: { readonly attribute: Attribute; readonly sub: Attribute | undefined },
): readonly Json[] {
  const value = own(object, attribute.name);
  if (value === undefined) return [];
  const values: readonly Json[] = Array.isArray(value) ? value : [value];
  if (sub === undefined) return values;
  return values.flatMap((each) => (isObject(each) ? [own(each, sub.name) ?? null] : []));
}

function isAssigned(value: Json): boolean {
  return value !== null && value !== '' && !(Array.isArray(value) && value.length === 0);
}
