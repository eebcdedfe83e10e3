/** The address of a client, to which a person is sent with a login token. */

const LONGEST = 4_000;
/** Addresses that a browser would not go to, but do something with here. */
const NO_CLIENTS: ReadonlySet<string> = new Set([
  'javascript:',
  'data:',
  'vbscript:',
  'blob:',
  'file:',
  'filesystem:',
  'about:',
  'view-source:',
  'ws:',
  'wss:',
  'ftp:',
]);

/** The address, if it may be one of a client: a website, or what opens a program. */
export function clientAddress(text: string): URL | undefined {
  // What a URL cannot have, and a parser would leave out: line ends, spaces, control characters.
  if (text.length > LONGEST || !/^[\x21-\x7e\u00a0-\uffff]+$/.test(text)) return undefined;
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (NO_CLIENTS.has(url.protocol) || url.username !== '' || url.password !== '') return undefined;
  return url;
}

/** True for an address that begins with one of those that the operator trusts. */
export function isTrustedClient(client: URL, trusted: readonly string[]): boolean {
  return trusted.some((prefix) => client.href.startsWith(prefix));
}

/** "If it already includes one or more `loginToken` parameters, they should be removed before adding the new one." */
export function withLoginToken(client: URL, token: string): string {
  const url = new URL(client);
  url.searchParams.delete('loginToken');
  url.searchParams.append('loginToken', token);
  return url.href;
}
