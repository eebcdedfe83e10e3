/** What the key document of a server says. Pure. */

import type { KeyId } from '#keys/ids.ts';
import { duration, type Fault, fault, faultOf, keyFault, said } from '../fault.ts';
import type { KeyDocumentFacts } from './check-server.ts';
import { faulty, fine, noticed, type Step } from './step.ts';

/** The step `key`; `known` are the keys that were known before, `now` is in milliseconds since 1970. */
export function keySteps(document: KeyDocumentFacts, known: ReadonlyMap<KeyId, string>, now: number): Step[] {
  const found = keyDocumentFault(document, now);
  if (found !== undefined) return [faulty('key', found)];
  if (document.kind !== 'published') return [];
  const { keys, validUntilTs } = document.keys;
  const published = new Map([...keys].map(([keyId, { publicKey }]) => [keyId, publicKey] as const));
  const changed = keyFault(known, published);
  if (changed !== undefined) return [faulty('key', changed)];
  const present = [...keys].filter(([, { expiredTs }]) => expiredTs === undefined).map(([keyId]) => keyId);
  const unlisted = [...known.keys()].filter((keyId) => !keys.has(keyId));
  const before = present.some((keyId) => known.has(keyId)) ? ', as it was known before' : '';
  return [
    fine('key', `${present.join(', ')}, valid for ${duration(validUntilTs - now)}${before}`),
    ...(unlisted.length === 0
      ? []
      : [
          noticed(
            'key',
            fault('key_unlisted', `its earlier key ${said(unlisted.join(', '))} is published no more`),
          ),
        ]),
  ];
}

/** What is wrong with what a server gave as its key document; undefined where it holds. */
export function keyDocumentFault(document: KeyDocumentFacts, now: number): Fault | undefined {
  switch (document.kind) {
    case 'failed': {
      const found = faultOf(document, now);
      // Whoever may ask nothing else may ask for this.
      const isMissing = document.reason === 'refused' && found.cause === 'request_refused';
      return isMissing ? fault('key_missing', `does not give its key: ${found.words}`) : found;
    }
    case 'wrong':
      if (document.problem === 'malformed') return fault('not_matrix', 'what answers gives no key document');
      if (document.problem === 'name') {
        return fault('name_differs', `what answers is the server ${said(document.name)}`);
      }
      return fault('key_unsigned', 'its key document is not signed by a key of its own');
    case 'published': {
      const { validUntilTs } = document.keys;
      const ended = `its key document ended on ${new Date(validUntilTs).toISOString().slice(0, 10)}`;
      return validUntilTs <= now ? fault('key_expired', ended) : undefined;
    }
  }
}
