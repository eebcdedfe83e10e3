/** Operations that are served and that no test of the suite gets a success of, each with the reason. */

export const UNSEEN: ReadonlyMap<string, string> = new Map([
  ['client-server GET /.well-known/matrix/policy_server', 'Kurir is no policy server: 404'],
  ['server-server POST /_matrix/policy/v1/sign', 'Kurir is no policy server: 404'],
]);
