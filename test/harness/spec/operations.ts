/** Which operation of the specification a request is for. */

import type { Bundle, Operation } from './bundle.ts';

const PARAMETER = /^\{.*\}$/;

/** The operations by their method and number of segments, the most literal first. */
export class Operations {
  readonly #byForm = new Map<string, Operation[]>();

  constructor({ operations }: Bundle) {
    for (const operation of operations) {
      const segments = operation.path.split('/');
      const form = `${operation.method} ${segments.length}`;
      this.#byForm.set(form, [...(this.#byForm.get(form) ?? []), operation]);
    }
    for (const alike of this.#byForm.values()) alike.sort((a, b) => parametersOf(a) - parametersOf(b));
  }

  /** `path` without its query. */
  find(method: string, path: string): Operation | undefined {
    // Until Matrix 1.1, `v3` was `r0`; what is new was `unstable` first.
    const segments = path
      .replace(/^(\/_matrix\/(?:client|media))\/r0\//, '$1/v3/')
      .replace(/^(\/_matrix\/client)\/unstable\/(rooms\/[^/]+\/relations)\//, '$1/v1/$2/')
      .replace(/^(\/_matrix\/client)\/unstable\/(keys|room_keys)\//, '$1/v3/$2/')
      // Application services of before Matrix 1.0, and of before 1.7, know these paths alone.
      .replace(/^\/(transactions|users|rooms)\//, '/_matrix/app/v1/$1/')
      .replace(/^(\/_matrix\/app)\/unstable\/(thirdparty\/|fi\.mau\.msc2659\/(?=ping$))/, (_, app, rest) =>
        rest === 'thirdparty/' ? `${app}/v1/thirdparty/` : `${app}/v1/`,
      )
      .split('/');
    const isMatch = ({ path: pattern }: Operation): boolean =>
      pattern.split('/').every((part, index) => PARAMETER.test(part) || part === segments[index]);
    const found = this.#byForm.get(`${method} ${segments.length}`)?.find(isMatch);
    // "When an empty string, the trailing slash on this endpoint is optional."
    if (found !== undefined) return found;
    if (path.endsWith('/')) return this.find(method, path.slice(0, -1));
    return /\/rooms\/[^/]+\/state\/[^/]+$/.test(path) ? this.find(method, `${path}/{stateKey}`) : undefined;
  }
}

export function nameOf({ api, method, path }: Operation): string {
  return `${api} ${method} ${path}`;
}

function parametersOf({ path }: Operation): number {
  return path.split('/').filter((part) => PARAMETER.test(part)).length;
}
