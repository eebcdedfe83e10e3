/**
 * Three Kurirs and a Synapse in a network that splits and heals. Whatever the users of each side do meanwhile, the
 * four come to one state, and every message of those who are in the room all the time is at each of them once.
 * What is done, and where the network splits, comes from a seed: `KURIR_TEST_SEED` makes it again.
 */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { register, type TestClient } from '#test/harness/client.ts';
import { bringIn, inRoom, untilMember } from '#test/harness/conversation.ts';
import { casesOf, seed } from '#test/harness/rounds.ts';
import { until } from '#test/harness/until.ts';
import { Dice } from '#test/oracles/dice.ts';
import { serverOf, untilSameState, wholeHistory } from './rooms-in-common.ts';
import { startNeighbours } from './synapse-neighbours.ts';
import { registerAtSynapse } from './synapse-user.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const { fleet, synapse, alice, bob } = resources.use(await startNeighbours({ kurirs: 3, hasNetwork: true }));
const carol = await register(fleet.at(1), 'carol');
const dora = await register(fleet.at(2), 'dora');

/** One for each server: administrators, in the room all the time. */
const staff = [alice, carol, dora, bob];
/** One for each server: they come and go, and are promoted, sent away and banned. */
const visitors = [
  await register(fleet.at(0), 'vera'),
  await register(fleet.at(1), 'vito'),
  await register(fleet.at(2), 'vega'),
  await registerAtSynapse(synapse, 'viola'),
];

const HEALED_MS = 180_000;
const DEEDS_AT_ONCE = 60;
/** What somebody of a server does; more than once what is to be done more often. */
const DEEDS = [
  'sets the topic',
  'sets the topic',
  'notes',
  'notes',
  'notes',
  'sets the name, as a visitor',
  'sets the name, as a visitor',
  'sets power',
  'sets power',
  'bans',
  'unbans',
  'kicks',
  'leaves, as a visitor',
  'joins, as a visitor',
  'joins, as a visitor',
  'speaks, as a visitor',
  'speaks',
  'speaks',
  'speaks',
] as const;

interface Plan {
  /** The server on which it is done. */
  readonly actor: number;
  /** The visitor to whom it is done. */
  readonly target: number;
  readonly deed: (typeof DEEDS)[number];
  /** The power that the visitor gets, where it is given some. */
  readonly power: number;
}

for (const version of ['10', '12']) {
  test(`v${version}: after each split, and after links were cut one way, all four servers have one state, and each message once`, async (t) => {
    const dice = new Dice(`split ${version} ${seed}`);
    t.diagnostic(`seed ${seed}`);
    const room = await SplitRoom.create(version, dice);
    for (let split = 1; split <= casesOf({ usual: 1, inLongRun: 0.5 }); split++) {
      const parts = room.partsOfNetwork();
      fleet.network.split(parts);
      await room.letDo(DEEDS_AT_ONCE);
      await room.assertSplit(parts);
      fleet.network.heal();
      await room.assertOne(`split ${split} into ${parts.map((names) => names.length).join(' and ')}`);

      const links = room.someLinks();
      for (const [from, to] of links) fleet.network.cut(from, to);
      await room.letDo(DEEDS_AT_ONCE);
      fleet.network.heal();
      await room.assertOne(`cut ${split} of ${links.length} links`);
    }
  });
}

/** A room that is on all four servers, and what was said in it. */
class SplitRoom {
  readonly roomId: string;
  readonly #dice: Dice;
  /** By the staff, and by those who may be sent away. */
  readonly #said = { staff: new Set<string>(), visitors: new Set<string>() };
  #count = 0;

  private constructor(roomId: string, dice: Dice) {
    this.roomId = roomId;
    this.#dice = dice;
  }

  static async create(version: string, dice: Dice): Promise<SplitRoom> {
    const users = Object.fromEntries(staff.map(({ userId }) => [userId, 100]));
    // "the creators" of version 12 have no place among the users of the power levels.
    if (version === '12') delete users[alice.userId];
    const roomId = await alice.createRoom({
      room_version: version,
      power_level_content_override: { users, events_default: 0, state_default: 50 },
    });
    for (const user of staff.slice(1)) await bringIn(alice, user, roomId);
    for (const user of visitors) await user.join(roomId, [serverOf(alice)]);
    for (const viewer of staff) {
      for (const { userId } of [...staff, ...visitors]) await untilMember(viewer, roomId, userId, 'join');
    }
    return new SplitRoom(roomId, dice);
  }

  /** The servers in two parts, or one of them alone. */
  partsOfNetwork(): string[][] {
    const names = staff.map(serverOf);
    const parts: string[][] = [[], []];
    for (const name of names) parts[this.#dice.below(2)]?.push(name);
    if (parts.every((part) => part.length > 0)) return parts;
    const [alone] = names.splice(this.#dice.below(names.length), 1);
    return [[alone ?? ''], names];
  }

  /** Some of the links by which one server calls another, of which the other way may be whole. */
  someLinks(): [from: string, to: string][] {
    const names = staff.map(serverOf);
    const links = names.flatMap((from) => names.map((to): [string, string] => [from, to]));
    return links.filter(([from, to]) => from !== to && this.#dice.chance(0.4));
  }

  /** Lets users on all servers do things. What their own server refuses by the rules of the room is not done. */
  async letDo(deeds: number): Promise<void> {
    const plans = Array.from(
      { length: deeds },
      (): Plan => ({
        actor: this.#dice.below(staff.length),
        target: this.#dice.below(visitors.length),
        deed: this.#dice.pick(DEEDS),
        power: this.#dice.pick([0, 50]),
      }),
    );
    await Promise.all(
      // Side by side on the four servers, one after the other on each.
      staff.map(async (_, server) => {
        for (const plan of plans) if (plan.actor === server) await this.#do(plan);
      }),
    );
  }

  /** What was said last in each part has not come to the other. */
  async assertSplit(parts: readonly (readonly string[])[]): Promise<void> {
    const speakers = parts.map((part) => staff.findIndex((user) => part.includes(serverOf(user))));
    const said: string[] = [];
    for (const server of speakers) said.push(await this.#say(server, 'staff'));
    for (const [index, server] of speakers.entries()) {
      const seen = await wholeHistory(staff[server] ?? alice, this.roomId);
      assert.deepEqual(
        said.filter((body) => seen.includes(body)),
        [said[index]],
      );
    }
  }

  /** Everybody says something, by which all hear that the network is whole again; then all must agree. */
  async assertOne(what: string): Promise<void> {
    for (const server of staff.keys()) await this.#say(server, 'staff');
    const wait = { longestMs: HEALED_MS };
    await untilSameState(staff, this.roomId, wait);
    const wanted = [...this.#said.staff].sort();
    for (const user of staff) {
      let seen: string[] = [];
      const hasAll = async () => {
        seen = await wholeHistory(user, this.roomId);
        return wanted.every((body) => seen.includes(body));
      };
      try {
        await until(hasAll, 'all messages', wait);
      } catch (cause) {
        const missing = wanted.filter((body) => !seen.includes(body));
        throw new Error(`after ${what}, ${user.userId} lacks ${missing.join(', ')}`, { cause });
      }
      assert.equal(new Set(seen).size, seen.length, `after ${what}, ${user.userId} sees a message twice`);
      const unknown = seen.filter((body) => !this.#said.staff.has(body) && !this.#said.visitors.has(body));
      assert.deepEqual(unknown, [], `after ${what}, ${user.userId} sees what was not said`);
    }
  }

  #do({ actor, target, deed, power }: Plan): Promise<unknown> {
    const admin = staff[actor] ?? alice;
    const visitor = visitors[actor] ?? alice;
    const other = visitors[target]?.userId ?? '';
    this.#count += 1;
    switch (deed) {
      case 'sets the topic':
        return this.#state(admin, 'm.room.topic/', { topic: `topic ${this.#count}` });
      case 'notes':
        // Few keys, so that the sides note different things under the same.
        return this.#state(admin, `org.example.note/${target}`, { note: this.#count });
      case 'sets the name, as a visitor':
        return this.#state(visitor, 'm.room.name/', { name: `name ${this.#count}` });
      case 'sets power':
        return this.#setPower(admin, other, power);
      case 'bans':
        return this.#act(admin, 'ban', { user_id: other });
      case 'unbans':
        return this.#act(admin, 'unban', { user_id: other });
      case 'kicks':
        return this.#act(admin, 'kick', { user_id: other });
      case 'leaves, as a visitor':
        return this.#act(visitor, 'leave', {});
      case 'joins, as a visitor':
        return this.#act(visitor, 'join', {});
      case 'speaks, as a visitor':
        return this.#say(actor, 'visitors');
      case 'speaks':
        return this.#say(actor, 'staff');
    }
  }

  /** Answers what was said, or tried to say. */
  async #say(server: number, group: 'staff' | 'visitors'): Promise<string> {
    const user = (group === 'staff' ? staff : visitors)[server] ?? alice;
    this.#count += 1;
    const body = `${this.#count} by ${user.userId}`;
    const path = `${inRoom(this.roomId)}/send/m.room.message/${this.#count}`;
    const answer = await user.try('PUT', path, { msgtype: 'm.text', body });
    if (answer.status === 200) this.#said[group].add(body);
    else assert.deepEqual([answer.status, group], [403, 'visitors'], JSON.stringify(answer.body));
    return body;
  }

  async #setPower(admin: TestClient, userId: string, power: number): Promise<void> {
    const path = `${inRoom(this.roomId)}/state/m.room.power_levels/`;
    const levels = await admin.get(path);
    await this.#put(admin, path, { ...levels, users: { ...levels.users, [userId]: power } });
  }

  #state(user: TestClient, key: string, content: object): Promise<void> {
    return this.#put(user, `${inRoom(this.roomId)}/state/${key}`, content);
  }

  async #put(user: TestClient, path: string, content: object): Promise<void> {
    const { status, body } = await user.try('PUT', path, content);
    assert.ok([200, 403].includes(status), `${path}: ${status} ${JSON.stringify(body)}`);
  }

  /** A change of a membership; one that needs a server which cannot be reached fails in its own way. */
  async #act(user: TestClient, action: string, body: object): Promise<void> {
    const answer = await user.try('POST', `${inRoom(this.roomId)}/${action}`, body);
    assert.ok(
      answer.status < 500 || answer.status >= 502,
      `${action}: ${answer.status} ${JSON.stringify(answer.body)}`,
    );
  }
}
