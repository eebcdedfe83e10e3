/** How the demonstration is told on the terminal: numbered steps, and colours where a person looks on. */

import { styleText } from 'node:util';

let steps = 0;

/** Begins the next step of the story. */
export function step(text: string): void {
  steps += 1;
  print(`\n${styleText('bold', `${steps}  ${text}`)}`);
}

/** Something that happened in this step. */
export function tell(text: string): void {
  print(`   ${text}`);
}

/** What somebody wrote, as it stands with the one who reads it. */
export function tellMessage({
  reader,
  writer,
  body,
}: {
  reader: string;
  writer: string;
  body: string;
}): void {
  print(
    `   ${styleText('cyan', `${writer}:`.padEnd(6))} ${body}  ${styleText('dim', `(${reader} has read it)`)}`,
  );
}

/** How it ended. */
export function tellEnd(text: string, isGood: boolean): void {
  const stream = isGood ? process.stdout : process.stderr;
  stream.write(`\n${styleText(isGood ? 'green' : 'red', text, { stream })}\n`);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
