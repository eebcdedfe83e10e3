/** https://spec.matrix.org/v1.19/application-service-api/#third-party-networks */

import { isObject, isStringArray, type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { Lru } from '#storage/lru.ts';
import type { Appservice } from './appservice.ts';
import { networkOf } from './networks.ts';

const TIMEOUT_MS = 10_000;
/** In one answer. */
const MOST_RESULTS = 1_000;
const MOST_PROTOCOLS = 1_000;
/** What a service says of a protocol rarely changes. */
const KEPT_MS = 60_000;

interface Kept {
  readonly value: JsonObject | undefined;
  readonly until: number;
}

export interface ThirdPartySource {
  all(): readonly Appservice[];
}

/** What the services of a server know of networks elsewhere. */
export class ThirdPartyNetworks {
  readonly #services: ThirdPartySource;
  readonly #known = new Lru<string, Kept>({ maxEntries: MOST_PROTOCOLS });

  constructor(services: ThirdPartySource) {
    this.#services = services;
  }

  /** Every protocol that some service bridges and can tell about. */
  async protocols(): Promise<Record<string, JsonObject>> {
    const names = new Set(this.#services.all().flatMap(({ registration }) => registration.protocols));
    const told = await Promise.all(
      [...names].slice(0, MOST_PROTOCOLS).map(async (name) => [name, await this.protocol(name)] as const),
    );
    return Object.fromEntries(told.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
  }

  /** What the services say of a protocol: the first of them, with the instances of all. */
  async protocol(name: string): Promise<JsonObject | undefined> {
    const now = performance.now();
    const known = this.#known.get(name);
    if (known !== undefined && known.until > now) return known.value;
    const services = this.#bridging(name);
    const path = `/protocol/${encodeURIComponent(name)}`;
    const told = await Promise.all(
      services.map(async (service) => protocolFrom(service, await ask(service, path))),
    );
    const found = told.filter((value) => value !== undefined);
    const [first] = found;
    const value = first && { ...first, instances: found.flatMap(({ instances }) => instances) };
    // A service that was asked in vain may be there in a moment.
    if (value !== undefined) this.#known.set(name, { value, until: now + KEPT_MS });
    return value;
  }

  /** Users or locations of a network, by fields of its own; undefined where no service bridges it. */
  async find(
    kind: 'user' | 'location',
    protocol: string,
    fields: URLSearchParams,
  ): Promise<JsonObject[] | undefined> {
    const services = this.#bridging(protocol);
    if (services.length === 0) return undefined;
    return this.#askAll(services, kind, { path: `/${kind}/${encodeURIComponent(protocol)}`, query: fields });
  }

  /** What stands elsewhere behind a room alias, or a user. */
  reverse(kind: 'user' | 'location', query: URLSearchParams): Promise<JsonObject[]> {
    const services = this.#services.all().filter(({ registration }) => registration.protocols.length > 0);
    return this.#askAll(services, kind, { path: `/${kind}`, query });
  }

  async #askAll(
    services: readonly Appservice[],
    kind: 'user' | 'location',
    { path, query }: { readonly path: string; readonly query: URLSearchParams },
  ): Promise<JsonObject[]> {
    const answers = await Promise.all(services.map((service) => ask(service, path, query)));
    const entries = answers.flatMap((answer) => (Array.isArray(answer) ? answer : []));
    return entries.filter((entry) => isEntry(kind, entry)).slice(0, MOST_RESULTS);
  }

  #bridging(protocol: string): Appservice[] {
    return this.#services.all().filter(({ registration }) => registration.protocols.includes(protocol));
  }
}

/** What a service answers; undefined for one that has nothing to say, or says nothing in time. */
async function ask(
  { registration, caller }: Appservice,
  path: string,
  query?: URLSearchParams,
): Promise<Json | undefined> {
  if (registration.url === undefined) return undefined;
  const answer = await caller.call({
    method: 'GET',
    path: `/v1/thirdparty${path}`,
    formerPath: `/_matrix/app/unstable/thirdparty${path}`,
    ...(query !== undefined && { query }),
    timeoutMs: TIMEOUT_MS,
  });
  return answer.kind === 'answered' && answer.status === 200 ? answer.json : undefined;
}

type Protocol = JsonObject & { readonly instances: readonly JsonObject[] };

/** What a service says of a protocol, where that is as clients expect it. */
function protocolFrom(service: Appservice, answer: Json | undefined): Protocol | undefined {
  if (!isObject(answer)) return undefined;
  const fieldTypes = objectAt(answer, 'field_types');
  const [users, locations] = [own(answer, 'user_fields'), own(answer, 'location_fields')];
  const isWhole =
    fieldTypes !== undefined &&
    Object.values(fieldTypes).every(isFieldType) &&
    isStringArray(users) &&
    isStringArray(locations) &&
    typeof own(answer, 'icon') === 'string';
  if (!isWhole) return undefined;
  const instances = own(answer, 'instances');
  const listed = Array.isArray(instances) ? instances.filter(isInstance) : [];
  return { ...answer, instances: listed.map((instance) => withNetwork(service, instance)) };
}

function isFieldType(value: Json): boolean {
  return (
    isObject(value) && stringAt(value, 'regexp') !== undefined && stringAt(value, 'placeholder') !== undefined
  );
}

function isInstance(value: Json): value is JsonObject {
  if (!isObject(value) || objectAt(value, 'fields') === undefined) return false;
  return stringAt(value, 'desc') !== undefined && stringAt(value, 'network_id') !== undefined;
}

/** "A unique identifier across all instances": by this clients ask for the rooms of the network. */
function withNetwork(service: Appservice, instance: JsonObject): JsonObject {
  return { ...instance, instance_id: networkOf(service.id, stringAt(instance, 'network_id') ?? '') };
}

function isEntry(kind: 'user' | 'location', value: Json): value is JsonObject {
  if (!isObject(value) || objectAt(value, 'fields') === undefined) return false;
  const id = kind === 'user' ? 'userid' : 'alias';
  return stringAt(value, id) !== undefined && stringAt(value, 'protocol') !== undefined;
}
