import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  boundaryOf,
  MultipartFault,
  multipartFrame,
  type PartHeaders,
  readMediaParts,
} from '#federation/media/multipart.ts';

interface Parts {
  readonly headers: PartHeaders;
  readonly text: string;
}

/** The second part of a body that arrives in pieces of `size` bytes. */
async function read(body: string, boundary = 'b', size = body.length): Promise<Parts> {
  const bytes = Buffer.from(body, 'latin1');
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  return readMediaParts(pieces(), boundary, async (headers, part) => ({
    headers,
    text: Buffer.concat(await Array.fromAsync(part)).toString('latin1'),
  }));
}

const HEAD = '--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n';
const FILE = 'Content-Type: text/plain\r\nContent-Disposition: inline\r\n\r\nfile';
const END = '\r\n--b--\r\n';

/** What servers send, by what is odd about it, with the file that is in it. */
const bodies: Readonly<Record<string, readonly [body: string, file: string]>> = {
  plain: [`${HEAD}${FILE}${END}`, 'file'],
  'no line after the end': [`${HEAD}${FILE}\r\n--b--`, 'file'],
  'words before and after': [`preamble\r\n${HEAD}${FILE}${END}epilogue`, 'file'],
  'an empty line first': [`\r\n${HEAD}${FILE}${END}`, 'file'],
  'white space after delimiters': [
    `--b  \r\n\r\n{}\r\n--b\t\r\nContent-Type: a/b\r\n\r\nfile\r\n--b--  \r\n`,
    'file',
  ],
  'no headers': [`--b\r\n\r\n{}\r\n--b\r\n\r\nfile${END}`, 'file'],
  'an empty file': [`${HEAD}Content-Type: a/b\r\n\r\n${END}`, ''],
  'no metadata at all': [`--b\r\nContent-Type: application/json\r\n\r\n--b\r\n${FILE}${END}`, 'file'],
  'metadata that is no object': [`--b\r\n\r\n[1]\r\n--b\r\n${FILE}${END}`, 'file'],
  'empty lines in the file': [`${HEAD}A: b\r\n\r\n\r\n\r\nfile\r\n\r\n${END}`, '\r\n\r\nfile\r\n\r\n'],
  'beginnings of the delimiter in the file': [
    `${HEAD}A: b\r\n\r\n\r\n-\r\n--\r\n--a\r\r\n\n--b${END}`,
    '\r\n-\r\n--\r\n--a\r\r\n\n--b',
  ],
  'a third part': [`${HEAD}${FILE}\r\n--b\r\n\r\nmore${END}`, 'file'],
  'an end that is cut off': [`${HEAD}${FILE}\r\n--b`, 'file'],
};

for (const [name, [body, file]] of Object.entries(bodies)) {
  test(`a body with ${name} is read, in whatever pieces it comes`, async () => {
    for (const size of [1, 2, 3, 7, 16, body.length])
      assert.equal((await read(body, 'b', size)).text, file, `${size}`);
  });
}

const faults: Readonly<Record<string, string>> = {
  nothing: '',
  'no delimiter': 'hello',
  'an end only': '--b--\r\n',
  'one part': `--b\r\n\r\n{}${END}`,
  'a file without an end': `${HEAD}${FILE}`,
  'a file with half an end': `${HEAD}${FILE}\r\n--`,
  'headers without an end': `${HEAD}Content-Type: a/b`,
  'a header line without an end': `${HEAD}${'a'.repeat(100_000)}`,
  'headers that are too long': `${HEAD}${'A: b\r\n'.repeat(10_000)}\r\nfile${END}`,
  'metadata that is too long': `--b\r\n\r\n${' '.repeat(70_000)}\r\n--b\r\n${FILE}${END}`,
  'much before the first delimiter': `${' '.repeat(20_000)}\r\n${HEAD}${FILE}${END}`,
  'something on the line of a delimiter': `--b\r\n\r\n{}\r\n--b file\r\n\r\nx${END}`,
};

for (const [name, body] of Object.entries(faults)) {
  test(`a body with ${name} is a fault, in whatever pieces it comes`, async () => {
    for (const size of [13, Math.max(body.length, 1)])
      await assert.rejects(read(body, 'b', size), MultipartFault);
  });
}

test('headers are found by their names in any case, and their text is UTF-8', async () => {
  const body = Buffer.from(`${HEAD}CONTENT-TYPE:a/b \r\nlocation: https://x/ü\r\nnonsense\r\n\r\n${END}`);
  const { headers } = await read(body.toString('latin1'));
  assert.deepEqual(
    [...headers],
    [
      ['content-type', 'a/b'],
      ['location', 'https://x/ü'],
    ],
  );
});

test('a part with a location and no bytes may end at once', async () => {
  const { headers } = await read(`${HEAD}Location: https://x/\r\n\r\n--b--`);
  assert.equal(headers.get('location'), 'https://x/');
});

test('the boundary is read as RFC 2045 writes it, of multipart/mixed only', () => {
  const found: Readonly<Record<string, string | undefined>> = {
    'multipart/mixed; boundary=abc': 'abc',
    'multipart/mixed;boundary="a b;c"': 'a b;c',
    'Multipart/Mixed; charset=x; Boundary=abc; y=z': 'abc',
    "multipart/mixed; boundary=gc0pJq0M:08jU534c0p'()+_,-./=?": "gc0pJq0M:08jU534c0p'()+_,-./=?",
    'multipart/mixed': undefined,
    'multipart/mixed; boundary=': undefined,
    'multipart/mixed; boundary=""': undefined,
    [`multipart/mixed; boundary=${'a'.repeat(71)}`]: undefined,
    'multipart/form-data; boundary=abc': undefined,
    'application/json': undefined,
  };
  for (const [header, boundary] of Object.entries(found)) assert.equal(boundaryOf(header), boundary, header);
});

test('what we write is read again, and no empty line comes after the headers of the file', async () => {
  const file = { contentType: 'text/plain', disposition: 'attachment; filename="a"' };
  const { contentType, head, tail } = multipartFrame(file);
  const body = `${head.toString()}content${tail.toString()}`;
  const boundary = boundaryOf(contentType);
  assert.ok(boundary);
  const { headers, text } = await read(body, boundary);
  assert.equal(text, 'content');
  assert.equal(headers.get('content-disposition'), file.disposition);
  assert.equal(body.slice(body.lastIndexOf('\r\n\r\n') + 4), `content${tail.toString()}`);
  assert.notEqual(multipartFrame(file).contentType, contentType, 'each has a boundary of its own');
});
