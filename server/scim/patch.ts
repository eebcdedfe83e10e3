/** Changes of a resource by PATCH: https://www.rfc-editor.org/rfc/rfc7644#section-3.5.2 */

import { isDeepStrictEqual } from 'node:util';
import { isObject, type Json, type JsonObject, own } from '#keys/json.ts';
import { badRequest, invalidPath, invalidSyntax, invalidValue, ScimError } from './errors.ts';
import { type Filter, type PatchPath, parsePath } from './filter.ts';
import { valueMatches } from './match.ts';
import { type Attribute, type Model, subAttribute } from './model.ts';
import { isPrimary, takenList, takenSingle, takenValue } from './values.ts';

const opNames = ['add', 'remove', 'replace'] as const;

/** One change of one attribute. */
export interface Change {
  readonly op: (typeof opNames)[number];
  readonly attribute: Attribute;
  readonly sub: Attribute | undefined;
  /** Which of the values of the attribute. */
  readonly filter: Filter | undefined;
  readonly value: Json | undefined;
}

/** The attributes that a resource has, by name. */
export type Attributes = ReadonlyMap<string, Json>;

const MAX_OPERATIONS = 1_000;

/** The changes that the body of a PATCH asks for, in their order: an operation without a path is several. */
export function changesOf(model: Model, body: Json | undefined): Change[] {
  if (!isObject(body)) throw invalidSyntax('The body must be a JSON object');
  const operations = memberOf(body, 'Operations');
  if (!Array.isArray(operations) || operations.length === 0) throw invalidSyntax('Operations must be a list');
  if (operations.length > MAX_OPERATIONS) {
    throw new ScimError(413, `There are more than ${MAX_OPERATIONS} operations`);
  }
  return operations.flatMap((operation) => changesOfOne(model, operation));
}

/** The attributes after the changes. */
export function changed(attributes: Attributes, changes: readonly Change[]): Attributes {
  const after = new Map(attributes);
  for (const change of changes) {
    const { attribute } = change;
    const value = changedValue(change, after.get(attribute.name));
    if (value !== undefined) after.set(attribute.name, value);
    else if (attribute.required === true)
      throw badRequest('mutability', `${attribute.name} must have a value`);
    else after.delete(attribute.name);
  }
  return after;
}

function changesOfOne(model: Model, operation: Json): Change[] {
  if (!isObject(operation)) throw invalidSyntax('An operation must be an object');
  const word = memberOf(operation, 'op');
  const op = opNames.find((name) => typeof word === 'string' && name === word.toLowerCase());
  if (op === undefined) throw invalidSyntax('op must be add, remove or replace');
  const value = memberOf(operation, 'value');
  const path = memberOf(operation, 'path');
  if (typeof path === 'string') {
    const change = changeAt(model, parsePath(path), { op, value });
    return change === undefined ? [] : [change];
  }
  if (path !== undefined && path !== null) throw invalidPath('path must be a string');
  if (op === 'remove') throw badRequest('noTarget', 'remove needs a path');
  if (!isObject(value)) throw invalidValue('Without a path the value must be an object');
  return Object.entries(value).flatMap(([key, part]) => {
    const change = isKept(model, key) ? changeAt(model, parsePath(key), { op, value: part }) : undefined;
    return change === undefined ? [] : [change];
  });
}

/** As in a whole resource, what is not kept or not to be written is passed over. */
function isKept(model: Model, key: string): boolean {
  const { path } = parsePath(key);
  const isOwn = path.urn === undefined || path.urn === model.schema.toLowerCase();
  const attribute = isOwn ? model.byName.get(path.name) : undefined;
  return attribute !== undefined && attribute.mutability !== 'readOnly';
}

/** Undefined for an attribute that is not kept. */
function changeAt(
  model: Model,
  { path, filter }: PatchPath,
  { op, value }: Pick<Change, 'op' | 'value'>,
): Change | undefined {
  const isOwn = path.urn === undefined || path.urn === model.schema.toLowerCase();
  if (!isOwn || model.passedOver.has(path.name)) return undefined;
  const attribute = model.byName.get(path.name);
  if (attribute === undefined) throw invalidPath(`There is no attribute ${path.name}`);
  if (attribute.mutability === 'readOnly')
    throw badRequest('mutability', `${attribute.name} cannot be changed`);
  const sub = path.sub === undefined ? undefined : subAttribute(attribute, path.sub);
  if (path.sub !== undefined && sub === undefined) {
    throw invalidPath(`${attribute.name} has no part ${path.sub}`);
  }
  if (filter !== undefined && attribute.multiValued !== true) {
    throw invalidPath(`${attribute.name} has one value only`);
  }
  if (op !== 'remove' && value === undefined) throw invalidValue(`There is no value for ${attribute.name}`);
  return { op, attribute, sub, filter, value };
}

function changedValue(change: Change, current: Json | undefined): Json | undefined {
  const { op, attribute, sub, value } = change;
  if (attribute.multiValued === true) return changedList(change, Array.isArray(current) ? current : []);
  if (sub !== undefined) return withPart(current, sub, op === 'remove' ? undefined : takenValue(sub, value));
  if (op === 'remove') return undefined;
  const taken = takenValue(attribute, value);
  // "a set of sub-attributes SHALL be specified ... that replaces any existing values"
  return isObject(taken) && isObject(current) ? { ...current, ...taken } : taken;
}

function changedList(change: Change, current: readonly Json[]): Json | undefined {
  const { attribute, filter } = change;
  const after = filter === undefined ? withAll(change, current) : withChosen({ ...change, filter }, current);
  return takenList(attribute, after);
}

/** Where no values were chosen. */
function withAll({ op, attribute, sub, value }: Change, current: readonly Json[]): readonly Json[] {
  if (sub !== undefined) {
    const part = op === 'remove' ? undefined : takenValue(sub, value);
    const targets = current.length === 0 && part !== undefined ? [{}] : current;
    return targets.map((each) => withPart(each, sub, part)).filter((each) => each !== undefined);
  }
  const given = listOf(takenValue(attribute, value));
  switch (op) {
    case 'replace':
      return given;
    case 'add':
      return given.reduce(withAdded, current);
    case 'remove':
      // Some say which ones by a value in place of a filter.
      return value === undefined || value === null
        ? []
        : current.filter((each) => !given.some((gone) => valueKey(gone) === valueKey(each)));
  }
}

/** Where the values were chosen by a filter. */
function withChosen(
  { op, attribute, sub, value, filter }: Change & { readonly filter: Filter },
  current: readonly Json[],
): readonly Json[] {
  const isChosen = current.map((each) => valueMatches(attribute, each, filter));
  const update = (target: Json): Json | undefined => {
    if (sub !== undefined) return withPart(target, sub, op === 'remove' ? undefined : takenValue(sub, value));
    if (op === 'remove') return undefined;
    const given = takenSingle(attribute, value ?? null);
    return isObject(target) && isObject(given) ? { ...target, ...given } : given;
  };
  if (isChosen.includes(true)) {
    const after = current.map((each, index) => (isChosen[index] === true ? update(each) : each));
    const chosen = after.find(
      (each, index) => isChosen[index] === true && each !== undefined && isPrimary(each),
    );
    return after
      .filter((each) => each !== undefined)
      .map((each) => (chosen === undefined || each === chosen ? each : notPrimary(each)));
  }
  if (op === 'remove') return current;
  // To add what the filter describes is to make it.
  const described = op === 'add' ? descriptionOf(filter) : undefined;
  const made = described && update(described);
  const added = made === undefined ? undefined : takenSingle(attribute, made);
  if (added === undefined) throw badRequest('noTarget', `No value of ${attribute.name} is meant by the path`);
  return withAdded(current, added);
}

/** "If the value already exists, no changes SHOULD be made"; a new primary value takes the place of the other. */
function withAdded(current: readonly Json[], added: Json): readonly Json[] {
  if (current.some((each) => isDeepStrictEqual(each, added))) return current;
  const same = current.findIndex(
    (each) => valueKey(each) !== undefined && valueKey(each) === valueKey(added),
  );
  const rest = isPrimary(added) ? current.map(notPrimary) : current;
  if (same === -1) return [...rest, added];
  return rest.map((each, index) =>
    index === same && isObject(each) && isObject(added) ? { ...each, ...added } : each,
  );
}

/** What a filter of equalities says of a value; undefined for another one. */
function descriptionOf(filter: Filter): JsonObject | undefined {
  if (filter.kind === 'and') {
    const [left, right] = [descriptionOf(filter.left), descriptionOf(filter.right)];
    return left && right && { ...left, ...right };
  }
  if (filter.kind !== 'compare' || filter.op !== 'eq' || filter.path.sub !== undefined) return undefined;
  return { [filter.path.name]: filter.value };
}

function withPart(target: Json | undefined, sub: Attribute, part: Json | undefined): Json | undefined {
  const { [sub.name]: _, ...rest } = isObject(target) ? target : {};
  const after = part === undefined ? rest : { ...rest, [sub.name]: part };
  return Object.keys(after).length === 0 ? undefined : after;
}

function notPrimary(value: Json): Json {
  return isPrimary(value) && isObject(value) ? { ...value, primary: false } : value;
}

function valueKey(value: Json): string | undefined {
  const key = isObject(value) ? own(value, 'value') : value;
  return typeof key === 'string' ? key.toLowerCase() : undefined;
}

function listOf(value: Json | undefined): readonly Json[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

/** A member of an object, in whatever case it is written. */
function memberOf(object: JsonObject, name: string): Json | undefined {
  const exact = own(object, name);
  if (exact !== undefined) return exact;
  const key = Object.keys(object).find((each) => each.toLowerCase() === name.toLowerCase());
  return key === undefined ? undefined : own(object, key);
}
