/**
 * Where the specification's own schemas are wrong, or say otherwise than its prose. Each with the sentence that
 * decides.
 */

import type { Misfit } from './schemas.ts';

export interface Exception {
  /** The operations that it holds for, by their names as in `client-server GET /_matrix/client/versions`. */
  readonly operation: RegExp;
  /** Of the request as it was made, where only some have it. */
  readonly asked?: RegExp;
  /** Where in the value. */
  readonly pointer: RegExp;
  /** Where in the schema: what refuses the value. */
  readonly schema: RegExp;
  readonly when?: (misfit: Misfit) => boolean;
  readonly because: string;
}

const ANY = /^/;

export const EXCEPTIONS: readonly Exception[] = [
  {
    operation: ANY,
    pointer: ANY,
    schema: /room_id_v12\.yaml#\/required$/,
    when: ({ value }) => isRecord(value) && value.type === 'm.room.create',
    because: 'room_id_v12.yaml itself: "Room identifier. Omitted from `m.room.create` events."',
  },
  {
    operation:
      /^server-server (GET|PUT) \/_matrix\/federation\/v[12]\/(make|send)_(join|leave|knock)|\/invite\//,
    pointer: ANY,
    schema: /required$/,
    when: ({ expected }) => expected.includes("'origin'"),
    because:
      'MSC3989, since room version 11: "the only use within the spec of `origin` as a top-level event property is ' +
      'a malformed example of event format." No event format of the room versions has it.',
  },
  {
    operation: /^client-server GET .*\/state\/\{eventType\}\/\{stateKey\}$/,
    pointer: /^$/,
    schema: /^#\/oneOf$/,
    when: ({ expected }) => expected.includes('0,1'),
    because:
      '"The content of the state event, or the entire client-formatted event if `?format=event` was used": the first ' +
      'of the two is any object, so that an event fits both, which `oneOf` forbids.',
  },
  {
    operation: /^client-server GET \/\.well-known\/matrix\/support$/,
    pointer: /^\/contacts\/\d+\/role$/,
    schema: /\/enum$/,
    when: ({ value }) => typeof value === 'string' && /^[a-z][a-z0-9._-]*\.[a-z0-9._-]+$/.test(value),
    because: 'Of `role`: "Unspecified roles are permitted through the use of [Namespaced Identifiers]."',
  },
  {
    operation: /^server-server PUT \/_matrix\/federation\/v[12]\/invite\//,
    pointer: /^(\/1)?\/event\/(origin|unsigned)(\/|$)/,
    schema: /invite_event\.yaml#/,
    because:
      'Of the answer: "The event with the invited server\'s signature added. All other fields of the events should ' +
      'remain untouched", so what another server has written there beside the event format comes back.',
  },
  {
    operation: /^client-server PUT .*\/(state\/\{eventType\}\/\{stateKey\}|send\/\{eventType\}\/\{txnId\})$/,
    pointer: /^$/,
    schema: /^#\/required$/,
    when: ({ value }) => isRecord(value) && typeof value.delay_id === 'string',
    because: 'MSC4140, where a delay is asked for: there is no event yet, and `delay_id` stands for its id.',
  },
  {
    operation: /^client-server GET \/_matrix\/client\/v3\/sync$/,
    asked: /filter=[^&]*%22event_(fields|format)%22/,
    pointer: /\/events\/\d+$/,
    schema: /\/required$/,
    because:
      '"List of event fields to include", where the client names them; and `event_format`: "\'federation\' will return ' +
      'the raw event as received over federation", which has other fields.',
  },
  {
    operation: /^application-service /,
    pointer: /^\?access_token$/,
    schema: /^parameters$/,
    because:
      'The prose, of the `access_token` of before Matrix 1.4: "Servers should only send this query parameter if ' +
      'supporting legacy versions of the specification": where the operator has said so.',
  },
  {
    operation: /^client-server GET \/_matrix\/client\/v3\/voip\/turnServer$/,
    pointer: /^$/,
    schema: /^#\/required$/,
    when: ({ value }) => isRecord(value) && Object.keys(value).length === 0,
    because:
      '"The homeserver MAY provide a TURN server": where there is none there is nothing to name. Clients read `{}` so; ' +
      'an empty `uris` makes browsers refuse the call, and an error is asked again for ever.',
  },
];

/** The misfits that stand. What only failed since none of several schemas fits, one of them but for an exception, does. */
export function withoutExcepted(
  { operation, asked }: { readonly operation: string; readonly asked: string },
  misfits: readonly Misfit[],
): Misfit[] {
  const excepted = misfits.filter((misfit) => isExcepted(operation, asked, misfit));
  if (excepted.length === 0) return [...misfits];
  const isOfChoice = ({ pointer, schemaPath }: Misfit): boolean =>
    /\/(anyOf|oneOf)(\/\d+\/type)?$/.test(schemaPath) &&
    excepted.some((each) => each.pointer.startsWith(pointer));
  return misfits.filter((misfit) => !excepted.includes(misfit) && !isOfChoice(misfit));
}

function isExcepted(operation: string, asked: string, misfit: Misfit): boolean {
  return EXCEPTIONS.some(
    (exception) =>
      exception.operation.test(operation) &&
      exception.asked?.test(asked) !== false &&
      exception.pointer.test(misfit.pointer) &&
      exception.schema.test(misfit.schemaPath) &&
      exception.when?.(misfit) !== false,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
