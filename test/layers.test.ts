import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { layerProblems } from '#test/layers.ts';
import { readRepository, readSamples } from '#test/source-facts.ts';

/** The problems of made-up files, without their line numbers. */
function problemsOf(samples: Record<string, string>): string[] {
  return layerProblems(readSamples(samples));
}

test('layers: every import of this repository points left', () => {
  assert.deepEqual(layerProblems(readRepository(path.resolve(import.meta.dirname, '..'))), []);
});

test('layers: imports that point left, and imports of packages, are sound', () => {
  const samples = {
    'keys/ids.ts': "import path from 'node:path';\nexport const x = path.sep;\n",
    'rooms/event.ts':
      "import { x } from '#keys/ids.ts';\nimport { y } from './y.ts';\nexport const z = x + y;\n",
    'rooms/y.ts': "export const y = '';\n",
    'server/main.ts':
      "import { route } from './routes/send.ts';\nimport { other } from '#federation/routes/key.ts';\n",
    'test/a.test.ts': "import { z } from '#rooms/event.ts';\nimport fastify from 'fastify';\n",
  };
  assert.deepEqual(problemsOf(samples), []);
});

test('layers: an import of a folder to the right is a problem, as a type, dynamic and re-exported too', () => {
  const samples = {
    'keys/a.ts': "import type { Event } from '#rooms/event.ts';\n",
    'storage/b.ts': "export { send } from '#federation/send.ts';\n",
    'rooms/c.ts': "const app = await import('#server/app.ts');\n",
    'federation/d.ts': "type Config = import('#server/config.ts').Config;\n",
  };
  assert.deepEqual(problemsOf(samples), [
    'federation/d.ts:1: imports server/config.ts: server is to the right of federation',
    'keys/a.ts:1: imports rooms/event.ts: rooms is to the right of keys',
    'rooms/c.ts:1: imports server/app.ts: server is to the right of rooms',
    'storage/b.ts:1: imports federation/send.ts: federation is to the right of storage',
  ]);
});

test('layers: the product imports neither tests nor benchmarks nor files of the root', () => {
  assert.deepEqual(problemsOf({ 'server/a.ts': "import '#test/harness.ts';\nimport '../package.json';\n" }), [
    'server/a.ts:1: imports test/harness.ts: test is not part of the product',
    'server/a.ts:2: imports package.json: a relative import leaves server; write #package.json',
    'server/a.ts:2: imports package.json: . is not part of the product',
  ]);
});

test('layers: a relative import may not leave its top folder', () => {
  assert.deepEqual(problemsOf({ 'server/routes/a.ts': "import { x } from '../../keys/ids.ts';\n" }), [
    'server/routes/a.ts:1: imports keys/ids.ts: a relative import leaves server; write #keys/ids.ts',
  ]);
});

test('layers: only main.ts and app.ts import a route', () => {
  assert.deepEqual(problemsOf({ 'server/sync.ts': "import { sendRoutes } from './routes/send.ts';\n" }), [
    'server/sync.ts:1: imports server/routes/send.ts: only server/main.ts and server/app.ts import routes',
  ]);
});

test('layers: a cycle between files is a problem, unless only types go round', () => {
  const cycle = {
    'rooms/a.ts': "import { b } from './b.ts';\nexport const a = b;\n",
    'rooms/b.ts': "import { c } from '#rooms/c.ts';\nexport const b = c;\n",
    'rooms/c.ts': "import { a } from './a.ts';\nexport const c = () => a;\n",
  };
  assert.deepEqual(problemsOf(cycle), ['import cycle: rooms/a.ts -> rooms/b.ts -> rooms/c.ts -> rooms/a.ts']);
  const typesOnly = { ...cycle, 'rooms/c.ts': "import type { A } from './a.ts';\nexport const c = 1;\n" };
  assert.deepEqual(problemsOf(typesOnly), []);
});
