/** 1,000 devices that were signed in by OAuth come back at once, each with its refresh token, as after a long weekend. */

import { createHash } from 'node:crypto';
import { registerAccount } from '#bench/lib/accounts.ts';
import { type Answer, Connection } from '#bench/lib/connection.ts';
import { cpuMs } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, type ScenarioOptions, temporaryFolder } from '#bench/lib/scenario.ts';
import { percentile, round } from '#bench/lib/statistics.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import type { RunningServer, ServerKind } from '#bench/servers/server.ts';

const DEVICES = 1_000;
const CONNECTIONS = 50;
const LIMIT_S = 5;
const BASE = 'https://localhost';
const REDIRECT_URI = 'https://app.example.org/callback';
const VERIFIER = 'a-verifier-of-forty-three-characters-or-more-0';

export const oauthStorm: Scenario = {
  name: 'oauth-storm',
  about: `${DEVICES} devices refresh their tokens of OAuth at once (--size: other than ${DEVICES})`,
  ratios: [],
  limits: { errors: { atMost: 0 }, all_refreshed_s: { atMost: LIMIT_S } },
  run,
};

async function run(_: ServerKind, { size = DEVICES }: ScenarioOptions): Promise<Figures> {
  using folder = temporaryFolder();
  const server = await startKurir(folder.path, { env: { KURIR_PUBLIC_BASEURL: BASE } });
  const setUp = await Connection.open(server.url);
  const { clientId, tokens } = await signInDevices(server, setUp, size);
  setUp.close();
  const connections = await Promise.all(
    Array.from({ length: Math.min(CONNECTIONS, size) }, () => Connection.open(server.url)),
  );
  const took: number[] = [];
  let errors = 0;
  const before = cpuMs(server.pid) ?? Number.NaN;
  const began = performance.now();
  await Promise.all(
    connections.map(async (connection) => {
      for (let token = tokens.pop(); token !== undefined; token = tokens.pop()) {
        const from = performance.now();
        const fields = { grant_type: 'refresh_token', client_id: clientId, refresh_token: token };
        const { status } = await sendForm(connection, '/oauth2/token', fields);
        if (status !== 200) errors += 1;
        took.push(performance.now() - from);
      }
    }),
  );
  const seconds = (performance.now() - began) / 1_000;
  const used = (cpuMs(server.pid) ?? Number.NaN) - before;
  const figures = {
    all_refreshed_s: round(seconds, 2),
    refreshes_per_s: round(size / seconds, 0),
    errors,
    p50_ms: round(percentile(took, 0.5), 1),
    p99_ms: round(percentile(took, 0.99), 1),
    cpu_ms_per_refresh: round(used / size, 2),
  };
  console.log(
    `  ${figures.refreshes_per_s} refreshes/s, all in ${figures.all_refreshed_s} s, ${errors} errors;`,
  );
  console.log(
    `  p50 ${figures.p50_ms} ms, p99 ${figures.p99_ms} ms, CPU ${figures.cpu_ms_per_refresh} ms each`,
  );
  for (const connection of connections) connection.close();
  await server.stop();
  return figures;
}

/** Signs devices in through the pages, and answers their refresh tokens. */
async function signInDevices(
  server: RunningServer,
  connection: Connection,
  size: number,
): Promise<{ clientId: string; tokens: string[] }> {
  const account = await registerAccount(server, 'user');
  account.connection.close();
  const registered = await connection.request('POST', '/oauth2/register', {
    body: { client_uri: 'https://example.org/', redirect_uris: [REDIRECT_URI] },
  });
  const { client_id: clientId } = JSON.parse(registered.body);
  const cookie = await signInBrowser(server);
  const pathFor = (device: number) =>
    `/oauth2/authorize?${new URLSearchParams({
      response_type: 'code',
      client_id: clientId,
      redirect_uri: REDIRECT_URI,
      scope: `urn:matrix:client:api:* urn:matrix:client:device:DEVICE${device}`,
      code_challenge: createHash('sha256').update(VERIFIER).digest('base64url'),
      code_challenge_method: 'S256',
    })}`;
  const page = await (await fetch(`${server.url}${pathFor(0)}`, { headers: { cookie } })).text();
  const [, formToken = ''] = /name="form_token" value="([^"]+)"/.exec(page) ?? [];
  const tokens: string[] = [];
  for (let device = 0; device < size; device++) {
    // One after the other: this is not what is measured.
    const consent = await fetch(`${server.url}${pathFor(device)}`, {
      method: 'POST',
      redirect: 'manual',
      headers: { cookie },
      body: new URLSearchParams({ form_token: formToken, decision: 'allow' }),
    });
    const code = new URL(consent.headers.get('location') ?? BASE).searchParams.get('code') ?? '';
    const answer = await sendForm(connection, '/oauth2/token', {
      ...{ grant_type: 'authorization_code', client_id: clientId, code },
      ...{ redirect_uri: REDIRECT_URI, code_verifier: VERIFIER },
    });
    if (answer.status !== 200) throw new Error(`a device was not signed in: ${answer.body}`);
    tokens.push(JSON.parse(answer.body).refresh_token);
  }
  return { clientId, tokens };
}

/** The cookies of a browser in which the user is signed in. */
async function signInBrowser({ url }: RunningServer): Promise<string> {
  const form = await fetch(`${url}/sign-in`);
  const [, formToken = ''] = /name="form_token" value="([^"]+)"/.exec(await form.text()) ?? [];
  const cookies = cookiesOf(form);
  const signedIn = await fetch(`${url}/sign-in`, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: cookies.join('; ') },
    body: new URLSearchParams({ form_token: formToken, name: 'user', password: 'password of user' }),
  });
  return [...cookies, ...cookiesOf(signedIn)].join('; ');
}

function cookiesOf(response: Response): string[] {
  return response.headers.getSetCookie().map((cookie) => cookie.split(';', 1)[0] ?? '');
}

function sendForm(connection: Connection, path: string, fields: Record<string, string>): Promise<Answer> {
  const body = new URLSearchParams(fields).toString();
  const head = connection.head('POST', path, undefined);
  const type = 'Content-Type: application/x-www-form-urlencoded\r\n';
  return connection.send(`${head}${type}Content-Length: ${body.length}\r\n\r\n`, body);
}
