/** What Kurir serves, or asks, under `/_matrix/` that the specification 1.19 does not have, each with where it is from. */

const OUTSIDE: ReadonlyMap<RegExp, string> = new Map([
  [
    /^\/_matrix\/federation\/v1\/send_(join|leave)\//,
    'the specification until 1.17 (MSC4376): servers without `v2` are asked so, and ask so',
  ],
  [
    /^\/_matrix\/client\/unstable\/[a-z.-]+\.msc\d+/,
    'the proposal (MSC) of that number, claimed in `unstable_features`',
  ],
  [
    /^\/_matrix\/client\/unstable\/im\.nheko\.summary\//,
    'MSC3266 by its old paths: nheko asks so, and clients of before 1.15 did',
  ],
  [/^\/_matrix\/app\/unstable\/org\.matrix\.msc398[34]\/keys\/(claim|query)$/, 'MSC3983 and MSC3984'],
  [/^\/_matrix\/client\/v1\/rtc\/transports$/, 'MSC4143, by its stable path'],
  [
    /^\/_matrix\/media_proxy\/unstable\//,
    'the API of scanners for malware, as matrix-content-scanner has it',
  ],
  [
    /^\/_matrix\/client\/(v4|unstable\/org\.matrix\.simplified_msc3575)\/sync$/,
    'MSC4186, sliding sync: merged after 1.19, and as it was tried out before',
  ],
  [
    /^\/_matrix\/client\/v3\/user\/[^/]+\/(rooms\/[^/]+\/)?account_data\/[^/]+$/,
    'MSC3391: account data is deleted by DELETE',
  ],
  [/^\/_matrix\/client\/v3\/pushers\/ack$/, 'MSC4174, which names no unstable path'],
  [
    /^\/_matrix\/identity\/api\/v1\/pubkey\/(ephemeral\/)?isvalid$/,
    'Sydent: where it says that its keys are looked up',
  ],
  [/^\/_matrix\/federation\/v1\/3pid\/onbind$/, 'Sydent: by POST, where the specification says PUT'],
  [
    /^\/_matrix\/key\/v2\/(server\/[^/]*|query\/[^/]*\/[^/]*)$/,
    'the specification until 1.6: a key id after the path, which servers still ask with and which is passed over',
  ],
]);

export function outsideOf(path: string): string | undefined {
  for (const [pattern, origin] of OUTSIDE) if (pattern.test(path)) return origin;
  return undefined;
}

/** Pages for clients that do not know a stage of authentication or a way to sign in: HTML, as the prose has it. */
export function isPage(path: string): boolean {
  return /^\/_matrix\/(client\/(v3|r0)\/auth\/[^/]+\/fallback\/web|static\/client\/login\/)$/.test(path);
}

/** What scanners for malware have to say is said as clients of matrix-content-scanner read it: by `reason` and `info`. */
export function isScannerRefusal(path: string, body: unknown): boolean {
  if (!path.startsWith('/_matrix/media_proxy/unstable/') || typeof body !== 'object' || body === null)
    return false;
  const keys = Object.keys(body).sort().join();
  return keys === 'info,reason' && 'reason' in body && /^MCS_[A-Z_]+$/.test(String(body.reason));
}

/** "The server is encouraged to provide a user-friendly page explaining the error", where JSON is declared elsewhere. */
export function isErrorPage(path: string, status: number): boolean {
  return status === 404 && /^\/_matrix\/client\/v3\/login\/sso\/redirect\/[^/]+$/.test(path);
}

/** MSC4174: "the server MUST respond with 201, "The pusher is set but needs to be activated"", for its own kind alone. */
export function isOutsideStatus(path: string, status: number): boolean {
  return status === 201 && path === '/_matrix/client/v3/pushers/set';
}
