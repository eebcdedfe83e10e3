/** Servers with application services. */

import assert from 'node:assert/strict';
import { FREE, type Policy } from '#server/appservices/policy.ts';
import { startServer, type TestServer, type TestServerOptions } from './server.ts';
import { startService, type TestService, type TestServiceOptions } from './service.ts';

/** Adds a service to a running server, as the operator's command does. */
export async function addService(
  server: TestServer,
  service: TestService,
  policy: Partial<Policy> = {},
): Promise<void> {
  const added = await server.ctx.appservices.add(service.yaml, { ...FREE, ...policy });
  assert.equal(added.kind, 'added', JSON.stringify(added));
}

/** A server, and a service that it tells everything. */
export async function startWithService(
  options: TestServiceOptions & {
    readonly server?: TestServerOptions;
    readonly policy?: Partial<Policy>;
  } = {},
): Promise<{ readonly server: TestServer; readonly service: TestService } & AsyncDisposable> {
  const { server: serverOptions, policy, ...serviceOptions } = options;
  const stack = new AsyncDisposableStack();
  const service = stack.use(await startService(serviceOptions));
  const server = stack.use(await startServer(serverOptions));
  await addService(server, service, policy);
  return { server, service, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
