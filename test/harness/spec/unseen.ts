/** Operations that are served and that no test of the suite gets a success of, each with the reason. */

const NO_PHONES = 'there are no phone numbers: 400 M_THREEPID_MEDIUM_NOT_SUPPORTED';

export const UNSEEN: ReadonlyMap<string, string> = new Map([
  ['client-server POST /_matrix/client/v3/account/3pid/msisdn/requestToken', NO_PHONES],
  ['client-server POST /_matrix/client/v3/account/password/msisdn/requestToken', NO_PHONES],
  ['client-server POST /_matrix/client/v3/register/msisdn/requestToken', NO_PHONES],
  [
    'server-server GET /_matrix/federation/v1/query/{queryType}',
    'what is asked has paths of its own; others: 400',
  ],
]);
