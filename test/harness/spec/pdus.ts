/** Events and EDUs as one server gives them to another. */

import { withoutExcepted } from './exceptions.ts';
import { isOurs, versionOf } from './live.ts';
import type { Misfit, SpecSchemas } from './schemas.ts';
import { checkLater, fault, violation } from './violations.ts';

type Found = { readonly pointer: string; readonly value: Record<string, unknown> };

const FOLDER = 'api/server-server/definitions';
/** Which of the files is for a room version. */
const FORMATS: ReadonlyMap<string, string> = new Map([
  ...['1', '2'].map((version) => [version, 'pdu_v1'] as const),
  ['3', 'pdu_v3'],
  ...['4', '5'].map((version) => [version, 'pdu_v4'] as const),
  ...['6', '7', '8', '9', '10'].map((version) => [version, 'pdu_v6'] as const),
  ['11', 'pdu_v11'],
  ['12', 'pdu_v12'],
]);
const MOST_PDUS = 50;
const MOST_EDUS = 100;

export class PduChecks {
  readonly #schemas: SpecSchemas;

  constructor(schemas: SpecSchemas) {
    this.#schemas = schemas;
  }

  /** The events in the body that servers of ours have made. */
  check(what: string, body: unknown): void {
    const found: Found[] = [];
    collect(body, '', found);
    const ours = found.filter(({ value }) => isOurs(value.sender));
    if (ours.length > 0) checkLater(this.#events(what, ours));
  }

  /** "Must not include more than 50 PDUs", "more than 100 EDUs", and each EDU by its type. */
  checkTransaction(what: string, body: unknown): void {
    if (!isRecord(body) || !Array.isArray(body.pdus) || typeof body.origin !== 'string') return;
    const { pdus, edus = [] } = body as { pdus: unknown[]; edus?: unknown[] };
    if (pdus.length > MOST_PDUS) fault(what, `at most ${MOST_PDUS} PDUs`, pdus.length, '/pdus');
    if (edus.length > MOST_EDUS) fault(what, `at most ${MOST_EDUS} EDUs`, edus.length, '/edus');
    for (const [index, edu] of edus.entries()) this.#edu(what, `/edus/${index}`, edu);
  }

  async #events(what: string, events: readonly Found[]): Promise<void> {
    for (const { pointer, value } of events) {
      // One after the other: all but the first of a room are known already.
      const version = await versionOfEvent(value);
      const format = version === undefined ? undefined : FORMATS.get(version);
      if (format === undefined) continue;
      const misfits = this.#schemas.misfits(`${FOLDER}/${format}.yaml#`, value);
      this.#report(`${what}, an event of room version ${version}`, pointer, misfits);
    }
  }

  #edu(what: string, pointer: string, edu: unknown): void {
    const type = isRecord(edu) ? edu.edu_type : undefined;
    const file = `${FOLDER}/event-schemas/${type}.yaml`;
    if (!this.#schemas.has(file)) {
      fault(what, 'an EDU of the specification', type, `${pointer}/edu_type`);
      return;
    }
    this.#report(`${what}, an EDU ${type}`, pointer, this.#schemas.misfits(`${file}#`, edu));
  }

  #report(what: string, pointer: string, misfits: readonly Misfit[]): void {
    const placed = misfits.map((misfit) => ({ ...misfit, pointer: `${pointer}${misfit.pointer}` }));
    violation(what, withoutExcepted({ operation: what, asked: what }, placed));
  }
}

async function versionOfEvent({
  type,
  room_id: roomId,
  content,
}: Found['value']): Promise<string | undefined> {
  if (type === 'm.room.create') {
    const { room_version: version } = isRecord(content) ? content : {};
    return typeof version === 'string' ? version : '1';
  }
  return typeof roomId === 'string' ? versionOf(roomId) : undefined;
}

/** The signed events of a value, but not what their content or `unsigned` holds. */
function collect(value: unknown, pointer: string, found: Found[]): void {
  if (Array.isArray(value)) {
    for (const [index, each] of value.entries()) collect(each, `${pointer}/${index}`, found);
    return;
  }
  if (!isRecord(value)) return;
  if ('hashes' in value && 'signatures' in value && 'sender' in value) {
    found.push({ pointer, value });
    return;
  }
  for (const [key, each] of Object.entries(value)) collect(each, `${pointer}/${key}`, found);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
