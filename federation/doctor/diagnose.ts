/** From what was seen to what is wrong, and who is to do what about it. Pure. */

import { clockFault, duration, fault, faultOf, said } from '../fault.ts';
import { isUnrecognized, type Remote } from '../remote/answer.ts';
import type { CheckFacts, KeyDocumentFacts, LiveFacts } from './check-server.ts';
import { keySteps } from './diagnose-keys.ts';
import { ownSteps } from './diagnose-own.ts';
import { isBySrv, reachSteps } from './diagnose-reach.ts';
import { isReached } from './reach.ts';
import { faulty, fine, noticed, type Step, type StepName, skipped } from './step.ts';

/** A second is lost on the way; more is shown. */
const SHOWN_SKEW_MS = 2_000;
const SHOWN_ROOMS = 5;
const LATELY_MS = 60 * 60_000;
const LATER: readonly StepName[] = ['key', 'clock', 'version', 'signature'];

/** All that was looked at, in order. */
export function diagnose(facts: CheckFacts): Step[] {
  const { reach, ourServer } = facts;
  if (reach.server === ourServer) {
    return [faulty('name', fault('not_a_server', `${ourServer} is this server itself: see "keys check"`))];
  }
  const way = reachSteps(reach);
  if (reach.destination === undefined && !reach.isUnresolved) return way;
  return [
    ...way,
    ...(isReached(reach) ? answerSteps(facts) : LATER.map((name) => skipped(name, 'not reached'))),
    ...deliverySteps(facts),
    roomsStep(facts),
    ...callSteps(facts),
    ...ownSteps(facts.ours, reachesUs(facts)),
  ];
}

/** True where the other server has shown that it finds this one, and not long ago. */
function reachesUs({ signed, live, reach }: CheckFacts): boolean {
  const { calledTs = 0 } = live?.calls ?? {};
  return isAccepted(signed) || calledTs > reach.ts - LATELY_MS;
}

function answerSteps(facts: CheckFacts): Step[] {
  const { keyDocument, knownKeys, reach, version, signed } = facts;
  if (keyDocument === undefined) return [];
  const ofKeys = keySteps(keyDocument, knownKeys, reach.ts);
  if (version === undefined) {
    return [...ofKeys, ...LATER.slice(1).map((name) => skipped(name, 'not asked'))];
  }
  return [
    ...ofKeys,
    clockStep(keyDocument),
    versionStep(version, reach.ts),
    signatureStep(signed, reach.ts),
    ...(isBySrv(reach)
      ? [noticed('DNS SRV', fault('srv_only', 'only an SRV record leads to the server'))]
      : []),
  ];
}

function clockStep(document: KeyDocumentFacts): Step {
  const skewMs = document.kind === 'failed' ? undefined : document.skewMs;
  if (skewMs === undefined) return skipped('clock', 'it does not say its time');
  const off = clockFault(skewMs);
  if (off !== undefined) return faulty('clock', off);
  const isShown = Math.abs(skewMs) >= SHOWN_SKEW_MS;
  return fine('clock', isShown ? `off by ${duration(Math.abs(skewMs))}, which does no harm` : 'as ours');
}

function versionStep(version: CheckFacts['version'], now: number): Step {
  if (version === undefined) return skipped('version', 'not asked');
  if (version.kind === 'failed') return noticed('version', faultOf(version, now));
  const { name, version: number } = version.value;
  return fine('version', name === '' ? 'not said' : said(`${name} ${number}`.trim()));
}

/** True where a server has verified our signature, whatever it thinks of the question. */
export function isAccepted(answer: Remote<unknown> | undefined): boolean {
  if (answer === undefined) return false;
  if (answer.kind === 'ok') return true;
  const { reason, status, errcode } = answer;
  return (
    reason === 'refused' &&
    (status === 404 || status === 400) &&
    errcode !== undefined &&
    !isUnrecognized(answer)
  );
}

function signatureStep(signed: CheckFacts['signed'], now: number): Step {
  if (signed === undefined) return skipped('signature', 'not asked');
  if (isAccepted(signed)) return fine('signature', 'it verifies ours, so it has our key');
  if (signed.kind === 'failed' && isUnrecognized(signed))
    return skipped('signature', 'it knows none of the questions');
  const found = signed.kind === 'failed' ? faultOf(signed, now) : fault('unknown', '');
  return found.cause === 'rate_limited' ? noticed('signature', found) : faulty('signature', found);
}

/** What the running server makes of the other one, where that is not what was just seen. */
function deliverySteps({ live, reach, signed }: CheckFacts): Step[] {
  if (live === undefined) return [];
  const { backoffMs, destination } = live;
  const isKnown = destination !== undefined && reach.destination !== undefined;
  const isElsewhere =
    isKnown && JSON.stringify(placesOf(destination)) !== JSON.stringify(placesOf(reach.destination));
  const words = `this server still goes to ${destination?.host}:${destination?.port}, as it was told earlier`;
  return [
    ...(isElsewhere ? [noticed('delivery', fault('stale_address', words))] : []),
    ...(backoffMs > 0 ? [backoffStep(backoffMs, isAccepted(signed))] : []),
  ];
}

function backoffStep(backoffMs: number, answers: boolean): Step {
  if (answers) return fine('delivery', 'it was left alone for a while, and is tried again now');
  return noticed('delivery', fault('given_up', `left alone for another ${duration(backoffMs)}`));
}

/** The targets of an SRV record come in an order by chance. */
function placesOf(destination: LiveFacts['destination']): string[] {
  if (destination === undefined) return [];
  const { host, port, fallbacks, tlsName } = destination;
  const endpoints = [{ host, port }, ...fallbacks].map((endpoint) => `${endpoint.host}:${endpoint.port}`);
  return [tlsName, ...endpoints.sort()];
}

function roomsStep({ rooms: { shared, denyUs }, ourServer }: CheckFacts): Step {
  const count = `${shared} shared`;
  if (denyUs.length === 0) return fine('rooms', shared === 0 ? 'none shared' : count);
  const which = denyUs.slice(0, SHOWN_ROOMS).join(', ');
  const more = denyUs.length > SHOWN_ROOMS ? ' and others' : '';
  const words = `the access control list of ${denyUs.length} of ${count} denies ${ourServer}: ${which}${more}`;
  return faulty('rooms', fault('acl_denies_us', words));
}

function callSteps({ live, reach, signed }: CheckFacts): Step[] {
  if (live === undefined) return [skipped('calls us', 'known only while this server runs')];
  const { calledTs, refused, fetchedKeyTs } = live.calls;
  const ago = (ts: number): string => `${duration(Math.max(reach.ts - ts, 0))} ago`;
  const steps: Step[] = [];
  if (calledTs !== undefined) steps.push(fine('calls us', ago(calledTs)));
  else if (fetchedKeyTs !== undefined) steps.push(fine('calls us', `fetched our key ${ago(fetchedKeyTs)}`));
  else if (isAccepted(signed)) steps.push(fine('calls us', 'not since this server started'));
  else {
    const words = 'has not called since this server started, and shows no sign that it reaches it';
    steps.push(noticed('calls us', fault('unproven', words)));
  }
  if (refused !== undefined && refused.ts > (calledTs ?? 0)) {
    const words = `a request in its name was refused here ${ago(refused.ts)}: ${said(refused.reason)}`;
    steps.push(noticed('calls us', fault('refused_here', words)));
  }
  return steps;
}
