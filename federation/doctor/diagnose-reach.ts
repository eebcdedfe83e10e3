/** What the way to a server says: from its name to its certificate. Pure. */

import { isIPv6 } from 'node:net';
import { factsOf } from '../client.ts';
import { connectionFault, duration, type Fault, fault, said } from '../fault.ts';
import {
  type AttemptFacts,
  type ConnectionFailure,
  type HostFacts,
  isReached,
  type ReachFacts,
} from './reach.ts';
import { faulty, fine, noticed, type Step, skipped } from './step.ts';

const DAY_MS = 24 * 60 * 60_000;
const ENDING_MS = 14 * DAY_MS;
const ABSENT: ReadonlySet<string> = new Set(['ENOTFOUND', 'ENODATA']);

/** The steps from `name` to `certificate`. */
export function reachSteps(facts: ReachFacts): Step[] {
  if (facts.isUnresolved) {
    const words = 'where it is served could not be looked up in time';
    return [fine('name', facts.server), faulty('addresses', fault('name_lookup_failed', words))];
  }
  if (facts.destination === undefined) {
    return [faulty('name', fault('not_a_server', `"${said(facts.server)}" is not the name of a server`))];
  }
  const way = [fine('name', facts.server), delegationStep(facts), srvStep(facts), ...addressSteps(facts)];
  if (way.some(({ name, state }) => name === 'addresses' && state === 'fault')) return way;
  return [...way, ...connectionSteps(facts), ...certificateSteps(facts)];
}

/** True where only an SRV record leads to the server, and not its own name. */
export function isBySrv({ delegation, srv }: ReachFacts): boolean {
  return delegation?.kind !== 'delegated' && srv.some(({ targets }) => targets.length > 0);
}

function delegationStep(facts: ReachFacts): Step {
  const { delegation } = facts;
  if (delegation === undefined) return skipped('well-known', 'not asked: the name says its port');
  if (delegation.kind === 'delegated') return fine('well-known', `leads to ${delegation.server}`);
  const { problem, reason, status = 0, cause } = delegation;
  // What is broken there is passed over, as the specification has it: it may be what keeps others from the server.
  const found = isReached(facts) ? noticed : faulty;
  switch (problem) {
    case 'status':
      if (status < 500) return fine('well-known', `none (it answers ${status})`);
      return found('well-known', fault('delegation_broken', `.well-known/matrix/server answers ${status}`));
    case 'redirects':
    case 'content':
      return found('well-known', fault('delegation_broken', `.well-known/matrix/server: ${reason}`));
    case 'unreachable': {
      const { cause: why, words, remedy } = connectionFault({ message: reason, ...factsOf(cause) });
      if (!why.startsWith('certificate_')) return fine('well-known', `none (${words})`);
      return found('well-known', { cause: why, words: `.well-known/matrix/server: ${words}`, remedy });
    }
  }
}

function srvStep({ srv, destination }: ReachFacts): Step {
  if (srv.length === 0) return skipped('DNS SRV', 'not needed');
  const targets = srv.flatMap((record) => record.targets.map(({ host, port }) => `${host}:${port}`));
  if (targets.length > 0) return fine('DNS SRV', `leads to ${targets.join(', ')}`);
  const failed = srv.find(({ code }) => code !== undefined && !ABSENT.has(code));
  if (failed !== undefined) {
    return noticed('DNS SRV', fault('name_lookup_failed', `${failed.name} could not be looked up`));
  }
  return fine('DNS SRV', `none: port ${destination?.port} of ${destination?.host}`);
}

function addressSteps({ hosts, attempts, hasIpv6 }: ReachFacts): Step[] {
  const faults = hosts.map(hostFault).filter((found) => found !== undefined);
  const allowed = hosts.flatMap(({ addresses }) => addresses.filter(({ isAllowed }) => isAllowed));
  if (allowed.length === 0) return faults.map((found) => faulty('addresses', found));
  const shown = allowed.map(({ address }) => address).join(', ');
  const isWithoutWay = !hasIpv6 && allowed.every(({ address }) => isIPv6(address));
  if (isWithoutWay && attempts.every(({ isConnected }) => !isConnected)) {
    const words = `has IPv6 addresses only (${shown}), and this machine has none to reach them from`;
    return [faulty('addresses', fault('ipv6_only', words))];
  }
  return [fine('addresses', shown), ...faults.map((found) => noticed('addresses', found))];
}

function hostFault({ host, addresses, code }: HostFacts): Fault | undefined {
  if (code !== undefined) {
    const { cause, words } = connectionFault({ code, message: code });
    return fault(cause === 'unknown' ? 'name_lookup_failed' : cause, `${host}: ${words}`);
  }
  if (addresses.some(({ isAllowed }) => isAllowed)) return undefined;
  const denied = addresses.map(({ address }) => address).join(', ');
  return denied === ''
    ? fault('name_not_found', `${host} has no address`)
    : fault('address_denied', `${host} leads to ${denied}, which is not a public address`);
}

function connectionSteps(facts: ReachFacts): Step[] {
  const { attempts } = facts;
  if (attempts.length === 0) return [];
  const connected = attempts.filter(({ isConnected }) => isConnected);
  const found = connected.length > 0 ? noticed : faulty;
  const failed = attempts.filter(({ isConnected }) => !isConnected);
  return [
    ...(connected.length > 0 ? [fine('connection', connected.map(placeOf).join(', '))] : []),
    ...failed.map((attempt) => found('connection', placed(attempt, failureFault(attempt.failure)))),
  ];
}

function certificateSteps(facts: ReachFacts): Step[] {
  const connected = facts.attempts.filter(({ isConnected }) => isConnected);
  const failed = connected.filter(({ failure }) => failure !== undefined);
  const [agreed] = connected.filter(({ failure }) => failure === undefined);
  const found = agreed === undefined ? faulty : noticed;
  const steps = failed.map((attempt) =>
    found('certificate', placed(attempt, tlsFault(facts, attempt.failure))),
  );
  return agreed === undefined ? steps : [soundCertificate(facts, agreed), ...steps];
}

function soundCertificate({ ts, destination }: ReachFacts, { certificate }: AttemptFacts): Step {
  if (certificate === undefined) return fine('certificate', `for ${destination?.tlsName}`);
  const left = certificate.validToTs - ts;
  if (left < ENDING_MS) {
    return noticed('certificate', fault('certificate_ending', `certificate ends in ${duration(left)}`));
  }
  const day = new Date(certificate.validToTs).toISOString().slice(0, 10);
  const issuer = certificate.issuer === '' ? '' : `, by ${said(certificate.issuer)}`;
  return fine('certificate', `for ${destination?.tlsName}${issuer}, until ${day}`);
}

/** The certificate must be for the name that was asked for, whatever the SRV record leads to: a common mistake. */
function tlsFault(facts: ReachFacts, failure: ConnectionFailure | undefined): Fault {
  const found = failureFault(failure);
  if (found.cause !== 'certificate_name' || !isBySrv(facts)) return found;
  const names = failure?.certificate?.names ?? '';
  const words = `certificate is for ${said(names)}; behind an SRV record it must be for ${facts.destination?.tlsName}`;
  return fault('srv_certificate', words);
}

function failureFault(failure: ConnectionFailure | undefined): Fault {
  return connectionFault(failure ?? { message: '' });
}

function placed(attempt: AttemptFacts, found: Fault): Fault {
  return { ...found, words: `${placeOf(attempt)}: ${found.words}` };
}

function placeOf({ address, port }: AttemptFacts): string {
  return `${address} port ${port}`;
}
