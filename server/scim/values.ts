/** Values as clients send them, brought into the form in which they are kept. */

import { isObject, type Json, type JsonObject, own } from '#keys/json.ts';
import { invalidSyntax, invalidValue } from './errors.ts';
import { type Attribute, type Model, subAttribute } from './model.ts';

const MAX_CHARACTERS = 1_000;
/** Of one attribute; members of groups are counted by themselves. */
const MAX_VALUES = 50;

/**
 * What a resource says of the attributes that this server keeps, by their names. "Attribute names are case
 * insensitive"; what clients may not write, and what is not kept, is passed over.
 *
 * @throws ScimError for values that an attribute cannot have
 */
export function takenResource(model: Model, body: Json | undefined): ReadonlyMap<string, Json> {
  if (!isObject(body)) throw invalidSyntax('The body must be a JSON object');
  const schemas = own(body, 'schemas');
  if (schemas !== undefined && !(Array.isArray(schemas) && schemas.includes(model.schema))) {
    throw invalidValue(`schemas does not name ${model.schema}`);
  }
  const taken = new Map<string, Json>();
  for (const [key, value] of Object.entries(body)) {
    const attribute = model.byName.get(key.toLowerCase());
    if (attribute === undefined || attribute.mutability === 'readOnly' || isMembers(attribute)) continue;
    const kept = takenValue(attribute, value);
    if (kept === undefined) taken.delete(attribute.name);
    else taken.set(attribute.name, kept);
  }
  for (const attribute of model.attributes) {
    if (attribute.required === true && !taken.has(attribute.name)) {
      throw invalidValue(`${attribute.name} is missing`);
    }
  }
  return taken;
}

/** They may be many: groups see to them by themselves. */
export function isMembers({ name }: Attribute): boolean {
  return name === 'members';
}

/** The value to keep; undefined for what means none: null, an empty text, an empty list. */
export function takenValue(attribute: Attribute, value: Json | undefined): Json | undefined {
  if (value === undefined || value === null) return undefined;
  if (attribute.multiValued !== true) return takenSingle(attribute, value);
  // A list of one is sent as that one by some.
  const values: readonly Json[] = Array.isArray(value) ? value : [value];
  return takenList(
    attribute,
    values.map((each) => takenSingle(attribute, each)).filter((each) => each !== undefined),
  );
}

/** Values of a multi-valued attribute that were taken one by one. */
export function takenList(attribute: Attribute, values: readonly Json[]): Json | undefined {
  if (values.length > MAX_VALUES) throw invalidValue(`${attribute.name} has more than ${MAX_VALUES} values`);
  if (values.filter(isPrimary).length > 1)
    throw invalidValue(`${attribute.name} has more than one primary value`);
  return values.length === 0 ? undefined : values;
}

export function isPrimary(value: Json): boolean {
  return isObject(value) && own(value, 'primary') === true;
}

/** One value, of an attribute that may have several. */
export function takenSingle(attribute: Attribute, value: Json): Json | undefined {
  if (value === null || value === '') return undefined;
  switch (attribute.type) {
    case 'boolean':
      return booleanOf(attribute, value);
    case 'complex':
      return takenParts(attribute, value);
    case 'string':
    case 'reference':
    case 'dateTime':
      return textOf(attribute, value);
  }
}

/** Entra ID sends "True" and "False". */
function booleanOf({ name }: Attribute, value: Json): boolean {
  const word = typeof value === 'string' ? value.toLowerCase() : value;
  if (word === true || word === 'true') return true;
  if (word === false || word === 'false') return false;
  throw invalidValue(`${name} must be true or false`);
}

function textOf({ name }: Attribute, value: Json): string {
  if (typeof value !== 'string') throw invalidValue(`${name} must be a string`);
  if (value.length > MAX_CHARACTERS)
    throw invalidValue(`${name} is longer than ${MAX_CHARACTERS} characters`);
  if (value.includes('\0')) throw invalidValue(`${name} has a character in it that no text has`);
  return value;
}

function takenParts(attribute: Attribute, value: Json): JsonObject | undefined {
  const isValue = typeof value === 'string' && subAttribute(attribute, 'value') !== undefined;
  const given = isValue ? { value } : value;
  if (!isObject(given)) throw invalidValue(`${attribute.name} must be an object`);
  const parts: [string, Json][] = [];
  for (const [key, part] of Object.entries(given)) {
    const sub = subAttribute(attribute, key);
    const kept = sub && takenValue(sub, part);
    if (sub !== undefined && kept !== undefined) parts.push([sub.name, kept]);
  }
  return parts.length === 0 ? undefined : Object.fromEntries(parts);
}
