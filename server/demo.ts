/**
 * `npm run demo`: two authorities, each with a server of its own, talk to each other; one of the servers is stopped
 * and started again meanwhile. With `--once` it ends by itself, with exit code 0 if nothing was lost; otherwise both
 * servers stay up for a client to sign in.
 */

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RoomId } from '#keys/ids.ts';
import { Authority } from './demo/authority.ts';
import { type Account, Person } from './demo/person.ts';
import { step, tell, tellEnd, tellMessage } from './demo/telling.ts';

interface Place {
  readonly harbour: Authority;
  readonly water: Authority;
}

interface Scene extends Place {
  readonly anna: Person;
  readonly ben: Person;
  readonly roomId: RoomId;
  /** What was said, in its order. */
  readonly said: string[];
}

const PASSWORD_BYTES = 9;

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  const [option, ...rest] = argv;
  if ((option !== undefined && option !== '--once') || rest.length > 0) {
    process.stderr.write('kurir: the demo takes --once, or nothing: npm run demo -- --once\n');
    return 2;
  }
  const told = Promise.withResolvers<'stopped'>();
  process.on('SIGINT', () => told.resolve('stopped')).on('SIGTERM', () => told.resolve('stopped'));

  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'kurir-demo-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const place: Place = {
    harbour: await Authority.create('Harbour Office', join(folder, 'harbour')),
    water: await Authority.create('Water Board', join(folder, 'water')),
  };
  cleanup.defer(() => place.harbour.stop());
  cleanup.defer(() => place.water.stop());
  try {
    const played = await Promise.race([play(place), told.promise]);
    if (played === 'stopped') return 130;
    tellEnd('All is well.', true);
    if (option === '--once') return 0;
    await stayUp(place, { accounts: played, told: told.promise });
    return 0;
  } catch (error) {
    await explain(error, place);
    return 1;
  }
}

/** The whole story. @throws Error which says what went wrong */
async function play(place: Place): Promise<readonly Account[]> {
  await open(place);
  const accounts = await makeAccounts(place);
  const cast = await meet(place, accounts);
  await talk(cast);
  await talkOnWhileOneIsAway(cast);
  await compare(cast);
  return accounts;
}

async function open({ harbour, water }: Place): Promise<void> {
  step('Two servers start, each with its own key, certificate and database.');
  await Promise.all([harbour.start(water), water.start(harbour)]);
  for (const { title, serverName, clientUrl, pid } of [harbour, water]) {
    tell(`${title.padEnd(14)}  ${serverName}, for clients ${clientUrl}, process ${pid}`);
  }
}

async function makeAccounts({ harbour, water }: Place): Promise<[Account, Account]> {
  step('Their operators make an account at each:  kurir user add');
  const make = async (name: string, authority: Authority): Promise<Account> => {
    const password = randomBytes(PASSWORD_BYTES).toString('base64url');
    const userId = await authority.addUser(name.toLowerCase(), password);
    tell(`${name} of the ${authority.title} is ${userId}`);
    return { name, clientUrl: authority.clientUrl, userId, password };
  };
  return [await make('Anna', harbour), await make('Ben', water)];
}

async function meet(place: Place, accounts: readonly [Account, Account]): Promise<Scene> {
  const [anna, ben] = await Promise.all([Person.signIn(accounts[0]), Person.signIn(accounts[1])]);
  step(`${anna.name} makes a private room and invites ${ben.name}, whose server has never heard of hers.`);
  const roomId = await anna.createRoom('Bridge over the canal');
  await anna.invite(roomId, ben.userId);
  await ben.untilInvited(roomId);
  tell(`${ben.name} has the invitation; the two servers have fetched and checked each other's keys`);
  await ben.join(roomId);
  await anna.untilJoined(ben.userId);
  tell(`${ben.name} has joined ${roomId}`);
  return { ...place, anna, ben, roomId, said: [] };
}

async function talk(scene: Scene): Promise<void> {
  const { anna, ben } = scene;
  step('They talk. Each message is signed by the server of its sender, and kept by both.');
  await write(scene, anna, ['Good morning! The plans for the bridge are ready.']);
  await read(scene, ben);
  await write(scene, ben, ['Good morning. How high above the water?']);
  await read(scene, anna);
  await write(scene, anna, ['4.20 m at its lowest point.']);
  await read(scene, ben);
}

async function talkOnWhileOneIsAway(scene: Scene): Promise<void> {
  const { anna, ben, harbour, water } = scene;
  step(`The server of the ${water.title} is stopped. ${anna.name} writes on.`);
  await water.stop();
  await write(scene, anna, [
    'The ferry needs 4.50 m, says the pilot.',
    'Can the piers be higher?',
    'Take your time.',
  ]);
  tell(`3 messages wait on the disk of the ${harbour.title}`);

  step(`It is started again, and ${ben.name} reads on where he was.`);
  await water.start(harbour);
  await read(scene, ben);
  await write(scene, ben, ['We can do 4.60 m.', 'The drawings come on Friday.']);
  await read(scene, anna);
}

async function compare({ anna, ben, roomId, said }: Scene): Promise<void> {
  step('Nothing is lost: the history as each server has it.');
  for (const person of [anna, ben]) {
    const has = (await person.history(roomId)).map(({ body }) => body);
    if (JSON.stringify(has) !== JSON.stringify(said)) {
      throw new Error(`${person.name} should have ${JSON.stringify(said)}, and has ${JSON.stringify(has)}`);
    }
    tell(`${person.name} has all ${has.length} messages, each once, in their order`);
  }
}

async function write({ roomId, said }: Scene, person: Person, texts: readonly string[]): Promise<void> {
  for (const text of texts) {
    // One after the other, as one writes.
    await person.say(roomId, text);
    said.push(text);
  }
}

/** Waits until somebody has read all that was said, and tells what was new. */
async function read({ anna, ben, said }: Scene, reader: Person): Promise<void> {
  const before = reader.messageCount;
  const messages = await reader.untilMessages(said.length);
  const bodies = messages.map(({ body }) => body);
  if (JSON.stringify(bodies) !== JSON.stringify(said)) {
    throw new Error(
      `${reader.name} should read ${JSON.stringify(said)}, and reads ${JSON.stringify(bodies)}`,
    );
  }
  for (const { sender, body } of messages.slice(before)) {
    const writer = sender === anna.userId ? anna : ben;
    if (writer !== reader) tellMessage({ reader: reader.name, writer: writer.name, body });
  }
}

/** Both servers stay up until Ctrl-C. */
async function stayUp(
  { harbour, water }: Place,
  { accounts, told }: { accounts: readonly Account[]; told: Promise<unknown> },
): Promise<void> {
  step('Now you: both servers stay up. Sign in with a Matrix client, such as https://app.element.io');
  tell('(choose "Edit" beside the homeserver, and enter the address).');
  for (const { clientUrl, userId, password } of accounts) {
    tell('');
    tell(`address   ${clientUrl}`);
    tell(`user      ${userId}`);
    tell(`password  ${password}`);
  }
  tellEnd('Ctrl-C stops both servers and deletes what they have stored.', true);
  const ended = await Promise.race([told, harbour.ended(), water.ended()]);
  if (ended !== 'stopped') throw new Error(String(ended));
}

async function explain(error: unknown, { harbour, water }: Place): Promise<void> {
  tellEnd(`The demo has failed: ${error instanceof Error ? error.message : String(error)}`, false);
  for (const authority of [harbour, water]) {
    const log = await authority.log();
    if (log !== '') process.stderr.write(`\nThe log of the ${authority.title} ends with:\n${log}\n`);
  }
}
