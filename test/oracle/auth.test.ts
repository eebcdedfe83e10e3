import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authEventKeys } from '#rooms/auth/select.ts';
import { membershipOf } from '#rooms/event.ts';
import { tryOn } from '#test/harness/rounds.ts';
import { oursOf, refusalByAuthEvents, refusalIn } from './ours.ts';
import { authSelection } from './plain-auth.ts';
import { keyOf, membershipIn, type PlainEvent, type PlainState } from './plain-event.ts';
import { creatorsOf, levelIn, plainLevel, userLevelIn } from './plain-power.ts';
import { randomRoom } from './random-room.ts';

const GRAPHS = { usual: 500, of: 'graphs' };

test('3.5: of every event our verdict is that of the plain implementation, by auth events and by the state before', async (t) => {
  await tryOn(t, randomRoom(), GRAPHS, (room) => {
    const ours = oursOf(room);
    for (const event of ours.events.values()) {
      const plain = room.plain.event(event.eventId);
      const verdict = room.plain.verdicts.get(event.eventId);
      const before = room.plain.stateBefore(event.eventId);
      assert.ok(plain && verdict && before);
      const said = `${event.eventId} by the plain one: ${JSON.stringify(verdict)}`;
      const byAuthEvents = refusalByAuthEvents(ours, event);
      const isByAuthEvents = verdict.kind === 'rejected' && verdict.by === 'auth events';
      assert.equal(byAuthEvents !== undefined, isByAuthEvents, `${said}; by ours: ${byAuthEvents}`);
      const byState = refusalIn(ours, event, before);
      const plainly = room.plain.refusalIn(plain, before);
      assert.equal(byState !== undefined, plainly !== undefined, `${said}; by ours: ${byState}`);
    }
  });
});

test('3.5: our verdict in the states of other lines is that of the plain implementation', async (t) => {
  await tryOn(t, randomRoom(), { usual: 100, of: 'graphs' }, (room) => {
    const ours = oursOf(room);
    const states = room.lines
      .map((heads) => room.plain.resolve(heads))
      .filter((state) => state !== undefined);
    for (const event of ours.events.values()) {
      const plain = room.plain.event(event.eventId);
      assert.ok(plain);
      for (const state of states) {
        const plainly = room.plain.refusalIn(plain, state);
        const byOurs = refusalIn(ours, event, state);
        assert.equal(
          byOurs !== undefined,
          plainly !== undefined,
          `${event.eventId}: ${plainly} and ${byOurs}`,
        );
      }
    }
  });
});

test('3.5: we select the auth events that the plain implementation selects', async (t) => {
  await tryOn(t, randomRoom(), { usual: 100, of: 'graphs' }, (room) => {
    for (const event of oursOf(room).events.values()) {
      const plain = room.plain.event(event.eventId);
      assert.ok(plain);
      const keys = authEventKeys(event, event.rules).map(({ type, stateKey }) => keyOf(type, stateKey));
      assert.deepEqual(keys.sort(), authSelection(plain).sort());
    }
  });
});

test('3.5: nobody gives a level above their own, nobody without power changes the state of others', async (t) => {
  await tryOn(t, randomRoom(), { usual: 100, of: 'graphs' }, (room) => {
    const ours = oursOf(room);
    const { create } = room.plain;
    if (create === undefined) return;
    for (const event of ours.events.values()) {
      const before = room.plain.stateBefore(event.eventId);
      const plain = room.plain.event(event.eventId);
      assert.ok(before && plain);
      if (plain.type === 'm.room.create' || !before.has(keyOf('m.room.create', ''))) continue;
      if (refusalIn(ours, event, before) !== undefined) continue;
      const power = userLevelIn(before, plain.sender, create);
      checkGrants(plain, { before, power, isCreator: creatorsOf(create).includes(plain.sender) });
      checkPower(plain, before, power);
    }
  });
});

interface Giver {
  readonly before: PlainState;
  readonly power: number;
  readonly isCreator: boolean;
}

/** What an allowed power levels event gives is at most what its sender had. */
function checkGrants(event: PlainEvent, { before, power, isCreator }: Giver): void {
  const previous = before.get(keyOf('m.room.power_levels', ''));
  // "If there is no previous m.room.power_levels event in the room, allow."
  if (event.type !== 'm.room.power_levels' || previous === undefined) return;
  const [users, had] = [event.content.users ?? {}, previous.content.users ?? {}];
  for (const [userId, level] of Object.entries(users)) {
    const [now, then] = [level, (had as Record<string, never>)[userId]].map((value) =>
      plainLevel(event.version, value),
    );
    assert.ok(
      now === then || (now ?? 0) <= power || (isCreator && event.version >= 12),
      `${userId} is given ${now} by ${power}`,
    );
  }
}

/** Who has less than the state's default changes nothing of it but their own membership. */
function checkPower(event: PlainEvent, before: PlainState, power: number): void {
  const levels = before.get(keyOf('m.room.power_levels', ''))?.content;
  if (event.stateKey === undefined || event.type === 'm.room.member') return;
  if (event.type === 'm.room.third_party_invite' || event.type === 'm.room.aliases') return;
  const listed = levels?.events !== undefined && Object.hasOwn(levels.events as object, event.type);
  if (!listed) assert.ok(power >= levelIn(before, 'state_default'), `${event.type} by ${power}`);
}

/** "The allowable state transitions of membership": by the user, and by others; from `leave` also means never there. */
const OWN: Record<string, readonly string[]> = {
  leave: ['join', 'knock'],
  invite: ['join', 'leave'],
  join: ['join', 'leave'],
  knock: ['leave', 'knock', 'join'],
  ban: [],
};
const BY_OTHERS: Record<string, readonly string[]> = {
  leave: ['invite', 'ban', 'leave'],
  invite: ['leave', 'ban', 'invite'],
  join: ['leave', 'ban'],
  knock: ['invite', 'leave', 'ban'],
  ban: ['leave', 'ban'],
};

test('3.23: no allowed event changes a membership in a way that the specification does not know', async (t) => {
  await tryOn(t, randomRoom(), { usual: 100, of: 'graphs' }, (room) => {
    const ours = oursOf(room);
    for (const event of ours.events.values()) {
      const before = room.plain.stateBefore(event.eventId);
      if (event.type !== 'm.room.member' || event.stateKey === undefined || before === undefined) continue;
      if (refusalIn(ours, event, before) !== undefined) continue;
      const from = String(membershipIn(before, event.stateKey) ?? 'leave');
      const [isOwn, to] = [event.sender === event.stateKey, String(membershipOf(event))];
      const isThirdParty = Object.hasOwn(event.content, 'third_party_invite');
      const allowed = isOwn ? OWN[from] : BY_OTHERS[from];
      // A third-party invite is checked for a ban only; and one's own may come from one's own hand.
      const may = allowed?.includes(to) === true || (isThirdParty && to === 'invite' && from !== 'ban');
      assert.ok(may, `${event.sender} makes ${event.stateKey} ${to} from ${from}`);
    }
  });
});

test('the random rooms are of use: all rules about auth events are broken, and most events are accepted', async (t) => {
  const reasons = new Set<string>();
  let [accepted, all] = [0, 0];
  await tryOn(t, randomRoom(), { usual: 150, of: 'graphs' }, (room) => {
    for (const verdict of room.plain.verdicts.values()) {
      all += 1;
      if (verdict.kind === 'accepted') accepted += 1;
      if (verdict.kind === 'rejected') reasons.add(verdict.reason);
    }
  });
  assert.ok(accepted > all / 2, `${accepted} of ${all}`);
  for (const reason of [
    'there are duplicate entries',
    'there are entries which were themselves rejected',
    'an auth event has another room_id',
  ]) {
    assert.ok(reasons.has(reason), reason);
  }
});
