/** How others find this server, by its own name. Pure. */

import { type Fault, type FaultCause, fault } from '../fault.ts';
import type { OwnFacts } from './check-server.ts';
import { keyDocumentFault } from './diagnose-keys.ts';
import { isBySrv, reachSteps } from './diagnose-reach.ts';
import { isReached } from './reach.ts';
import { faulty, fine, noticed, type Step } from './step.ts';

/** What to do about it here; the remedies of `fault.ts` are those for other servers. */
const remedies: Partial<Record<FaultCause, string>> = {
  name_not_found: 'publish the name in the DNS',
  name_lookup_failed: 'check the resolver of this machine, and the name servers of the name',
  connection_refused: 'nothing listens there: see federation_listen, the proxy, and federation_address',
  no_route: 'check the network and the firewall',
  no_answer: 'open the port in the firewall, and lead it to federation_listen or to the proxy',
  connection_cut: 'the log of the proxy says why',
  address_denied: 'seen from here only: ask from another network',
  ipv6_only: 'seen from here only: ask from another network',
  certificate_expired: 'renew the certificate: tls_cert, or that of the proxy',
  certificate_not_yet_valid: 'check the clock of this machine',
  certificate_name:
    'the certificate (tls_cert, or that of the proxy) must be for the name that others end up with',
  certificate_untrusted: 'others trust it only where its authority is in their federation_ca',
  certificate_incomplete: 'tls_cert must hold the whole chain (fullchain.pem); the same goes for the proxy',
  certificate_self_signed:
    'set tls_cert and tls_key; others trust this one only where it is in their federation_ca',
  certificate_ending: 'renew the certificate: tls_cert, or that of the proxy',
  srv_certificate:
    'the certificate must be for the server name itself; or publish .well-known/matrix/server instead',
  srv_only:
    'Rocket.Chat servers do not find it so: set federation_address, and serve .well-known/matrix/server',
  not_tls: 'lead the port to federation_listen, which speaks TLS',
  delegation_broken: 'the web server of the name must pass /.well-known/matrix/server on to client_listen',
  not_matrix: 'the proxy must pass /_matrix on to this server',
  gateway_error: 'the proxy does not reach federation_listen',
  key_missing: 'the proxy must pass /_matrix on to this server',
  name_differs: 'another server answers at this name: see the DNS, and server_name',
  key_unsigned: 'the proxy must pass the answers on as they are',
  key_expired: 'the proxy keeps an old answer: it must not cache /_matrix',
  own_key_differs:
    'another server runs under this name, or a proxy keeps an old answer: it must not cache /_matrix',
};

/** `isFound`: the other server has shown that it finds this one, so that what is wrong from here may be right there. */
export function ownSteps(ours: OwnFacts, isFound: boolean): Step[] {
  const way = reachSteps(ours.reach).filter(({ state }) => state === 'fault' || state === 'notice');
  const found = [
    ...way.map(({ fault: each, state }) => ({ each, state })),
    ...(isReached(ours.reach) ? [{ each: ownKeyFault(ours), state: 'fault' as const }] : []),
    ...(isBySrv(ours.reach)
      ? [{ each: fault('srv_only', 'only an SRV record leads to it'), state: 'notice' as const }]
      : []),
  ];
  const steps = found.flatMap(({ each, state }) => {
    if (each === undefined) return [];
    const isNotice = isFound || state === 'notice' || isSeenFromHere(each);
    return [(isNotice ? noticed : faulty)('this server', asOurs(each, ours.reach.server))];
  });
  const { host = '', port = 0 } = ours.reach.destination ?? {};
  return steps.length > 0
    ? steps
    : [fine('this server', `is found at ${host}:${port}, with its present key`)];
}

/** A network may show its own machines another address than it shows to others. */
function isSeenFromHere({ cause }: Fault): boolean {
  return cause === 'address_denied' || cause === 'ipv6_only';
}

function ownKeyFault({ keyDocument, reach, keyId, publicKey }: OwnFacts): Fault | undefined {
  if (keyDocument === undefined) return undefined;
  const found = keyDocumentFault(keyDocument, reach.ts);
  if (found !== undefined || keyDocument.kind !== 'published') return found;
  const published = keyDocument.keys.keys.get(keyId);
  if (published?.publicKey === publicKey && published.expiredTs === undefined) return undefined;
  const shown = [...keyDocument.keys.keys.keys()].join(', ');
  return fault('own_key_differs', `what answers has the key ${shown}, and this server signs with ${keyId}`);
}

function asOurs({ cause, words, remedy }: Fault, ourServer: string): Fault {
  return { cause, words: `by its own name, ${ourServer}: ${words}`, remedy: remedies[cause] ?? remedy };
}
