/**
 * Random rooms for the property tests: graphs of signed events with forks and merges, of any room version, in which
 * users of several servers do what the rules allow and what they do not. All is made by the plain implementation, so
 * that a fault of `rooms/` does not hide itself.
 *
 * A room follows from its plan alone: the same seed gives the same events, and fast-check shrinks the plan.
 */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import type { JsonObject } from '#keys/json.ts';
import { PLAIN_VERSIONS } from './plain-auth.ts';
import { keyOf, type PlainEvent, type PlainState, stateOf } from './plain-event.ts';
import type { PlainRoom } from './plain-room.ts';
import { ACTIONS, type Action, draftOf, pick, USERS } from './room-drafts.ts';
import { type Draft, idIn, otherRoom, type Place, START_TS, Workshop } from './room-workshop.ts';

/** Ways in which an event breaks one rule and keeps the others, as far as that goes. */
const FLAWS = [
  'none',
  'noAuthEvents',
  'withoutCreate',
  'withoutLevels',
  'withoutOwnMember',
  'withoutJoinRules',
  'olderAuthEvent',
  'tooManyAuthEvents',
  'twoOfOneKey',
  'messageAsAuthEvent',
  'rejectedAuthEvent',
  'ofAnotherRoom',
  'noPrevEvents',
  'unknownPrevEvent',
  'unknownAuthEvent',
] as const;
type Flaw = (typeof FLAWS)[number];

interface Step {
  /** Which line goes on, whether it forks before, and which one it takes in. */
  readonly line: number;
  readonly fork: boolean;
  readonly merge: number | undefined;
  readonly action: Action;
  readonly sender: number;
  readonly target: number;
  readonly value: number;
  /** What its server's clock is off by, in seconds. */
  readonly skew: number;
  readonly flaw: Flaw;
  /** Whether the line goes on from here even where the event is rejected. */
  readonly insists: boolean;
}

interface Plan {
  readonly version: number;
  readonly create: 'usual' | 'unfederated' | 'moreCreators' | 'invalid';
  readonly levels: 'usual' | 'none' | 'empty';
  readonly joinRule: string | undefined;
  /** All events say the same time. */
  readonly clockStands: boolean;
  readonly steps: readonly Step[];
}

export interface RandomRoomOptions {
  /** All, 1 to 12, unless given. */
  readonly versions?: readonly number[];
  /** At most how many events after the room's beginning; 30 unless given. */
  readonly steps?: number;
  /** Whether some events cite events that nobody has. */
  readonly holes?: boolean;
  /** Whether some events break a rule about auth events; true unless given. */
  readonly flaws?: boolean;
  /** Whether the room has more than one line; true unless given. */
  readonly forks?: boolean;
  /** What its users do; everything unless given. */
  readonly actions?: readonly Action[];
}

/** A room, and what the plain implementation thinks of it. */
export interface RandomRoom {
  readonly version: number;
  readonly roomId: string;
  /** Each after those that it cites. */
  readonly pdus: readonly JsonObject[];
  /** The events of another room, where some event of this one cites them; empty otherwise. */
  readonly others: readonly JsonObject[];
  readonly plain: PlainRoom;
  /** The events at the end of each line: their states are what is to be resolved. */
  readonly lines: readonly (readonly string[])[];
  /** What fast-check prints. */
  [fc.toStringMethod]?(): string;
}

/** A random room. */
export function randomRoom(options: RandomRoomOptions = {}): fc.Arbitrary<RandomRoom> {
  return planOf(options).map(build);
}

function planOf({
  versions,
  steps = 30,
  holes = false,
  flaws = true,
  forks = true,
  actions = [...ACTIONS, ...FREQUENT],
}: RandomRoomOptions): fc.Arbitrary<Plan> {
  const flawed = FLAWS.filter((flaw) => flaw !== 'none' && (holes || !flaw.startsWith('unknown')));
  const step: fc.Arbitrary<Step> = fc.record({
    line: fc.nat(3),
    fork: forks ? often(4, false, true) : fc.constant(false),
    merge: fc.option(fc.nat(3), { nil: undefined, freq: 4 }),
    action: fc.constantFrom(...actions),
    // Those who have power do more.
    sender: fc.constantFrom(0, 0, 1, 1, 2, 2, 2, 3, 4, 5),
    target: fc.nat(USERS.length - 1),
    value: fc.nat(999),
    skew: fc.constantFrom(0, 0, 0, -1, 1, -5, 20),
    flaw: flaws
      ? fc.oneof({ weight: 12, arbitrary: fc.constant<Flaw>('none') }, fc.constantFrom<Flaw>(...flawed))
      : fc.constant<Flaw>('none'),
    insists: often(5, false, true),
  });
  return fc.record({
    version: fc.constantFrom(...(versions ?? PLAIN_VERSIONS)),
    create: fc.oneof(
      { weight: 20, arbitrary: fc.constant<Plan['create']>('usual') },
      { weight: 5, arbitrary: fc.constant<Plan['create']>('moreCreators') },
      { weight: 2, arbitrary: fc.constant<Plan['create']>('unfederated') },
      { weight: 1, arbitrary: fc.constant<Plan['create']>('invalid') },
    ),
    levels: fc.constantFrom('usual', 'usual', 'usual', 'usual', 'none', 'empty'),
    joinRule: fc.constantFrom(
      'public',
      'public',
      'public',
      'invite',
      'knock',
      'restricted',
      'knock_restricted',
      undefined,
    ),
    clockStands: often(6, false, true),
    steps: fc.array(step, { minLength: 1, maxLength: steps, size: 'max' }),
  });
}

function often<T>(weight: number, usual: T, other: T): fc.Arbitrary<T> {
  return fc.oneof({ weight, arbitrary: fc.constant(usual) }, fc.constant(other));
}

const CREATOR = USERS[0];
const FREQUENT: readonly Action[] = [
  'join',
  'topic',
  'ban',
  'kick',
  'userLevel',
  'level',
  'issueInvite',
  'redeemInvite',
];

/** A line of events whose server has not heard of the other lines. */
interface Line {
  heads: readonly string[];
  state: PlainState;
}

function build(plan: Plan): RandomRoom {
  const nonce = createHash('sha256').update(JSON.stringify(plan)).digest('hex').slice(0, 16);
  const shop = new Workshop(plan.version, nonce);
  const begin: Line = { heads: [], state: new Map() };
  const others = open(shop, plan, begin);
  const lines = [begin];
  for (const step of plan.steps) {
    let line = pick(lines, step.line);
    if (step.fork && lines.length < 4) {
      line = { ...line };
      lines.push(line);
    }
    const other = step.merge === undefined ? undefined : pick(lines, step.merge);
    if (other !== undefined && other !== line) take(shop, line, other);
    act(shop, line, { ...step, clockStands: plan.clockStands, others });
  }
  const { version, plain, pdus, roomId } = shop;
  const citesOthers = pdus.some(({ auth_events }) =>
    [...others.state.values()].some(({ id }) => includes(auth_events, id)),
  );
  return {
    version,
    roomId,
    pdus,
    others: citesOthers ? others.pdus : [],
    plain,
    lines: lines.map(({ heads }) => heads),
    [fc.toStringMethod]: () => describe(shop),
  };
}

/** The room's beginning: create, join, power levels, join rules, and three who join; and the other room. */
function open(shop: Workshop, plan: Plan, line: Line): ReturnType<typeof otherRoom> {
  const { version } = plan;
  const create = shop.create(CREATOR, createContent(plan));
  line.heads = [create.id];
  line.state = shop.plain.stateAfter(create.id) ?? new Map();
  const others = otherRoom(version);
  for (const pdu of others.pdus) shop.plain.add(pdu);
  // v12: creators are not in the list.
  const users = {
    ...(version <= 11 && { [CREATOR]: 100 }),
    ...((version <= 11 || plan.create !== 'moreCreators') && { [USERS[1]]: 100 }),
    [USERS[2]]: 50,
  };
  const joins = [USERS[1], USERS[2], USERS[5]].map(join);
  const drafts: (Draft | undefined)[] = [
    join(CREATOR),
    plan.levels === 'none' ? undefined : by('m.room.power_levels', plan.levels === 'usual' ? { users } : {}),
    by('m.room.join_rules', { join_rule: 'public' }),
    ...joins,
    plan.joinRule === 'public'
      ? undefined
      : by('m.room.join_rules', plan.joinRule === undefined ? {} : { join_rule: plan.joinRule }),
  ];
  for (const draft of drafts)
    if (draft !== undefined)
      add(shop, line, draft, placeOf(shop, line, draft, START_TS + shop.pdus.length * 1_000), true);
  return others;
}

function by(type: string, content: JsonObject): Draft {
  return { sender: CREATOR, type, stateKey: '', content };
}

function join(sender: string): Draft {
  return { sender, type: 'm.room.member', stateKey: sender, content: { membership: 'join' } };
}

function createContent({ version, create }: Plan): JsonObject {
  const content: JsonObject = { room_version: String(version), ...(version <= 10 && { creator: CREATOR }) };
  switch (create) {
    case 'usual':
      return content;
    case 'unfederated':
      return { ...content, 'm.federate': false };
    case 'moreCreators':
      return { ...content, additional_creators: [USERS[1]] };
    case 'invalid':
      return version >= 12
        ? { ...content, additional_creators: ['nobody'] }
        : { ...content, room_version: 'unheard-of' };
  }
}

/** A line takes in another one: its next event follows both. */
function take(shop: Workshop, line: Line, other: Line): void {
  const heads = [...new Set([...line.heads, ...other.heads])];
  const state = heads.length <= 10 ? shop.plain.resolve(heads) : undefined;
  if (state === undefined) return;
  line.heads = heads;
  line.state = state;
}

interface Doing extends Step {
  readonly clockStands: boolean;
  readonly others: ReturnType<typeof otherRoom>;
}

function act(shop: Workshop, line: Line, doing: Doing): void {
  const { action, value, skew, clockStands, flaw, insists } = doing;
  const events = [...shop.plain.events.values()].filter(({ roomId }) => roomId === shop.roomId);
  const [sender, target] = [pick(USERS, doing.sender), pick(USERS, doing.target)];
  const draft = draftOf(
    { action, sender, target, value },
    { version: shop.version, state: line.state, events },
  );
  const ts = clockStands ? START_TS : START_TS + (shop.pdus.length + skew) * 1_000;
  const place = flawedPlace(shop, placeOf(shop, line, draft, ts), {
    flaw,
    draft,
    value,
    events,
    others: doing.others,
  });
  add(shop, line, draft, place, insists);
}

function placeOf(shop: Workshop, line: Line, draft: Draft, ts: number): Place {
  return { prevEvents: line.heads, authEvents: shop.authEventsFor(draft, line.state), ts };
}

function add(shop: Workshop, line: Line, draft: Draft, place: Place, insists: boolean): void {
  const { id } = shop.make(draft, place);
  const after = shop.plain.stateAfter(id);
  // Honest servers do not go on from what is rejected, and nobody can from what is not known.
  if (after === undefined || !(insists || shop.plain.isAccepted(id))) return;
  line.heads = [id];
  line.state = after;
}

interface Circumstances {
  readonly flaw: Flaw;
  readonly draft: Draft;
  readonly value: number;
  readonly events: readonly PlainEvent[];
  readonly others: ReturnType<typeof otherRoom>;
}

function flawedPlace(
  shop: Workshop,
  place: Place,
  { flaw, draft, value, events, others }: Circumstances,
): Place {
  const { authEvents } = place;
  const cited = stateOf(events.filter(({ id }) => authEvents.includes(id)));
  const lacking = (type: string, stateKey = '') => ({
    ...place,
    authEvents: authEvents.filter((id) => id !== idIn(cited, type, stateKey)),
  });
  const more = (event: PlainEvent | undefined) =>
    event === undefined || authEvents.includes(event.id)
      ? place
      : { ...place, authEvents: [...authEvents, event.id] };
  /** One of the auth events gives way to another event of its key. */
  const instead = (others: readonly PlainEvent[]) => {
    const fitting = others.filter(
      (event) => cited.has(keyOf(event.type, event.stateKey ?? '-')) && !authEvents.includes(event.id),
    );
    const found = fitting.length === 0 ? undefined : pick(fitting, value);
    const replaced = found && cited.get(keyOf(found.type, found.stateKey ?? '-'))?.id;
    return found === undefined
      ? place
      : { ...place, authEvents: authEvents.map((id) => (id === replaced ? found.id : id)) };
  };
  switch (flaw) {
    case 'none':
      return place;
    case 'noAuthEvents':
      return { ...place, authEvents: [] };
    case 'withoutCreate':
      return lacking('m.room.create');
    case 'withoutLevels':
      return lacking('m.room.power_levels');
    case 'withoutOwnMember':
      return lacking('m.room.member', draft.sender);
    case 'withoutJoinRules':
      return lacking('m.room.join_rules');
    case 'olderAuthEvent':
      return instead(events.filter(({ id }) => shop.plain.isAccepted(id)));
    case 'rejectedAuthEvent':
      return instead(events.filter(({ id }) => shop.plain.isRejected(id)));
    case 'ofAnotherRoom':
      return value % 3 === 0 ? more([...others.state.values()][0]) : instead([...others.state.values()]);
    case 'tooManyAuthEvents':
      return more(
        events.find(({ type, stateKey }) => stateKey !== undefined && !cited.has(keyOf(type, stateKey))),
      );
    case 'twoOfOneKey':
      return more(
        events.find(
          ({ id, type, stateKey }) =>
            stateKey !== undefined && cited.has(keyOf(type, stateKey)) && !authEvents.includes(id),
        ),
      );
    case 'messageAsAuthEvent':
      return more(events.find(({ stateKey }) => stateKey === undefined));
    case 'noPrevEvents':
      return { ...place, prevEvents: [] };
    case 'unknownPrevEvent':
      return { ...place, prevEvents: [...place.prevEvents, unknownId(shop)] };
    case 'unknownAuthEvent':
      return { ...place, authEvents: [...authEvents, unknownId(shop)] };
  }
}

function unknownId(shop: Workshop): string {
  if (shop.version <= 2) return `$unknown${shop.pdus.length}:a.example`;
  return `$${createHash('sha256').update(`${shop.nonce} ${shop.pdus.length}`).digest('base64url')}`;
}

function includes(references: unknown, id: string): boolean {
  return (
    Array.isArray(references) && references.some((item) => (Array.isArray(item) ? item[0] : item) === id)
  );
}

/** One line for each event, with what is thought of it. */
function describe(shop: Workshop): string {
  const lines = [...shop.plain.events.values()].map((event) => {
    const verdict = shop.plain.verdicts.get(event.id);
    const key = event.stateKey === undefined ? '' : ` [${event.stateKey}]`;
    return [
      `${event.id} ${event.sender} ${event.type}${key} ${JSON.stringify(event.content)}`,
      `    ts ${event.ts - START_TS}, prev ${event.prevEvents.join(' ')}, auth ${event.authEvents.join(' ')}`,
      `    ${verdict?.kind}${verdict?.kind === 'rejected' ? ` by ${verdict.by}: ${verdict.reason}` : ''}`,
    ].join('\n');
  });
  return `room version ${shop.version}\n${lines.join('\n')}\n`;
}
