import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contentTypeOf } from '#server/scanning/content-type.ts';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

/** A file of a ZIP archive as it begins. */
function zipped(name: string, content = ''): string {
  const header = Buffer.alloc(30);
  header.write('PK\x03\x04', 'latin1');
  header.writeUInt16LE(name.length, 26);
  return header.toString('latin1') + name + content;
}

test('what a file is, is told by how it begins', () => {
  const types: readonly (readonly [string, string])[] = [
    ['\x89PNG\r\n\x1a\n', 'image/png'],
    ['%PDF-1.7', 'application/pdf'],
    ['MZ\x90\0', 'application/x-msdownload'],
    ['\x7fELF\x02', 'application/x-executable'],
    ['#!/bin/sh\n', 'text/x-shellscript'],
    ['#!AMR\n', 'audio/amr'],
    ['\0\0\0\x20ftypisom', 'video/mp4'],
    ['\0\0\0\x20ftypavif', 'image/avif'],
    ['\0\0\0\x20ftypM4A ', 'audio/mp4'],
    ['RIFF\0\0\0\0WAVEfmt ', 'audio/wav'],
    ['RIFF\0\0\0\0WEBPVP8 ', 'image/webp'],
    ['\xff\xfb\x90\x64', 'audio/mpeg'],
    [zipped('a.txt'), 'application/zip'],
    [
      zipped('[Content_Types].xml', 'xx') + zipped('word/document.xml'),
      'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
    ],
    [
      zipped('mimetype', 'application/vnd.oasis.opendocument.text'),
      'application/vnd.oasis.opendocument.text',
    ],
    [zipped('META-INF/MANIFEST.MF'), 'application/java-archive'],
    ['  <!DOCTYPE html><title>', 'text/html'],
    ['<!-- a --><script>', 'text/html'],
    ['<?xml version="1.0"?>\n<svg xmlns="', 'image/svg+xml'],
    ['\xef\xbb\xbf<svg>', 'image/svg+xml'],
    ['<?xml version="1.0"?><feed>', 'application/xml'],
    ['BMW and MZ are short', 'text/plain'],
    ['BM\x36\0\0\0', 'image/bmp'],
    ['hello, \xc3\xa5', 'text/plain'],
    ['\0\x01\x02', 'application/octet-stream'],
    ['', 'application/octet-stream'],
  ];
  for (const [start, type] of types) assert.equal(contentTypeOf(bytes(start)), type, JSON.stringify(start));
});

test('whatever a file begins with has some type, at once', () => {
  for (const start of [
    'PK\x03\x04',
    'PK\x03\x04'.repeat(1_024),
    zipped('x'.repeat(60_000)),
    'RIFF',
    '    ftyp',
    '<'.repeat(4_096),
    ' '.repeat(4_096),
    '<?xml'.repeat(800),
    '<!--'.repeat(1_000),
  ])
    assert.match(contentTypeOf(bytes(start)), /^[a-z]+\/[a-z0-9.+-]+$/);
});
