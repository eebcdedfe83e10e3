/** The start of a page as text, whatever it is written in. */

const MOST_BYTES = 512 * 1024;
/** What may come between pieces of a page is looked for in them together. */
const SEAM_BYTES = 8;
/** What is said of a page ends here; what is after it is not read. */
const END_OF_HEAD = /<\/head|<body/i;
const LOOKED_AT_BYTES = 1_024;
const CHARSET = /charset\s{0,10}=\s{0,10}["']?([\w:.-]{1,40})/i;

/** The bytes of a page until its head ends, at most 512 KiB. */
export async function startOfPage(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  let seam = '';
  for await (const piece of body) {
    pieces.push(piece);
    length += piece.length;
    const text = seam + piece.toString('latin1');
    if (END_OF_HEAD.test(text) || length >= MOST_BYTES) break;
    seam = text.slice(-SEAM_BYTES);
  }
  return Buffer.concat(pieces).subarray(0, MOST_BYTES);
}

/** The text of a page: by its first bytes, else as its header says, else as it says itself, else UTF-8. */
export function textOf(bytes: Buffer, contentType: string | undefined): string {
  const start = bytes.toString('latin1', 0, LOOKED_AT_BYTES);
  const label = byteOrderOf(start) ?? CHARSET.exec(contentType ?? '')?.[1] ?? CHARSET.exec(start)?.[1];
  return decoded(bytes, label ?? 'utf-8');
}

function byteOrderOf(start: string): string | undefined {
  if (start.startsWith('\xef\xbb\xbf')) return 'utf-8';
  if (start.startsWith('\xfe\xff')) return 'utf-16be';
  return start.startsWith('\xff\xfe') ? 'utf-16le' : undefined;
}

function decoded(bytes: Buffer, label: string): string {
  try {
    return new TextDecoder(label).decode(bytes);
  } catch {
    // Pages name what nobody knows.
    return new TextDecoder().decode(bytes);
  }
}
