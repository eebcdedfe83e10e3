/** Reading request bodies by hand: what is wrong is told to the client with the name of the member. */

import type { FastifyRequest } from 'fastify';
import { badJson, missingParam, notJson } from '#federation/errors.ts';
import { isObject, isStringArray, type JsonObject, own } from '#keys/json.ts';

/**
 * The body, which must be a JSON object. A POST without any body counts as `{}`, since many clients send none
 * where nothing is to be said.
 */
export function bodyObject(request: FastifyRequest): JsonObject {
  const { body } = request;
  if (body === undefined || body === null) {
    if (request.rawBody.length === 0 && request.method === 'POST') return {};
    if (request.rawBody.length === 0) throw notJson('The request has no body');
  }
  if (!isObject(body)) throw badJson('The body must be a JSON object');
  return body;
}

/** The string under `key`. */
export function requiredString(body: JsonObject, key: string): string {
  const value = optionalString(body, key);
  if (value === undefined) throw missingParam(key);
  return value;
}

/** The string under `key`, if there is anything. */
export function optionalString(body: JsonObject, key: string): string | undefined {
  const value = own(body, key);
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw badJson(`${key} must be a string`);
  return value;
}

/** The integer under `key`, if there is anything. */
export function optionalInteger(body: JsonObject, key: string): number | undefined {
  const value = own(body, key);
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw badJson(`${key} must be an integer`);
  return value;
}

/** The boolean under `key`, if there is anything. */
export function optionalBoolean(body: JsonObject, key: string): boolean | undefined {
  const value = own(body, key);
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw badJson(`${key} must be a boolean`);
  return value;
}

/** The object under `key`, if there is anything. */
export function optionalObject(body: JsonObject, key: string): JsonObject | undefined {
  const value = own(body, key);
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) throw badJson(`${key} must be an object`);
  return value;
}

/** The list of strings under `key`; empty where there is nothing. */
export function stringList(body: JsonObject, key: string): readonly string[] {
  const value = own(body, key);
  if (value === undefined || value === null) return [];
  if (!isStringArray(value)) throw badJson(`${key} must be a list of strings`);
  return value;
}
