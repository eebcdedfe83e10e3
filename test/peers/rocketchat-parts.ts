/** What a Rocket.Chat of the tests is made of: its federation SDK and a database, each in a folder of its own. */

import path from 'node:path';
import { nodeModulesWith, pythonWith } from '#test/harness/installed.ts';

const SDK = '0.8.0';
/** Speaks the protocol of MongoDB, which Rocket.Chat keeps its rooms in. */
const DATABASE = '0.7.0b3';

export interface RocketChatParts {
  /** Where `@rocket.chat/federation-sdk` is installed. */
  readonly sdkFolder: string;
  /** The program of the database. */
  readonly database: string;
}

/** Installs them at first use. Throws, with what is needed, where they cannot be had. */
export async function rocketChatParts(): Promise<RocketChatParts> {
  const sdkFolder = await nodeModulesWith({
    ...{ what: "Rocket.Chat's federation SDK", version: SDK, folder: 'rocketchat-sdk' },
    packages: [`@rocket.chat/federation-sdk@${SDK}`],
  });
  const python = await pythonWith({
    ...{ what: 'SecantusDB', version: DATABASE, folder: 'secantusdb' },
    packages: [`secantusdb==${DATABASE}`],
  });
  return { sdkFolder, database: path.join(path.dirname(python), 'secantusd-py') };
}
