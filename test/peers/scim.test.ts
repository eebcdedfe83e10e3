/** All checks of scim2-tester, by those who keep scim2-models, against Kurir. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { pythonWith } from '#test/harness/installed.ts';
import { SCIM_TOKEN, startScimServer } from '#test/harness/scim.ts';

const run = promisify(execFile);

const TESTER = '0.5.2';
const PACKAGES = [`scim2-tester==${TESTER}`, 'scim2-client[httpx2]==0.13.2', 'scim2-models==0.12.3'];
const MAX_OUTPUT = 16 * 1_024 * 1_024;

interface Result {
  readonly status: string;
  readonly title: string;
  readonly reason: string | null;
  readonly type: string | null;
}

test('RFC 7643 and 7644: every check of scim2-tester passes', async () => {
  await using server = await startScimServer();
  const python = await testerPython();
  const script = path.join(import.meta.dirname, 'scim/check.py');
  const args = [script, `${server.clientUrl}/scim/v2`, SCIM_TOKEN];
  const { stdout } = await run(python, args, { maxBuffer: MAX_OUTPUT });
  const results: readonly Result[] = JSON.parse(stdout);
  assert.deepEqual(
    results.filter(({ status }) => status !== 'SUCCESS' && status !== 'COMPLIANT'),
    [],
  );
  assert.ok(results.length > 50, `${results.length} checks`);
  const titles = new Set(results.map(({ title }) => title));
  for (const title of ['object_creation', 'search_with_attributes', 'check_remove_attribute', 'random_url']) {
    assert.ok(titles.has(title), title);
  }
});

/** The Python that has scim2-tester, installed at first use. */
function testerPython(): Promise<string> {
  return pythonWith({ what: 'scim2-tester', version: TESTER, folder: 'scim2-tester', packages: PACKAGES });
}
