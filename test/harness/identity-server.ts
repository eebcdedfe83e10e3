/**
 * An identity server of the test's own, written from https://spec.matrix.org/v1.19/identity-service-api/: it keeps
 * invitations, binds addresses that the test has proved, and tells the server of the user (`3pid/onbind`).
 */

import { createHash } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import { parseXMatrix } from '#federation/x-matrix.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { generateSeed, keyPairFromSeed, publicKeyFrom, verifySync } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import { signJson } from '#keys/sign-json.ts';
import type { TestAuthority } from './certificates.ts';
import type { Body } from './client.ts';
import { type Peer, type PeerAnswer, type PeerRequest, startPeer } from './peer.ts';
import type { TestServer } from './server.ts';

interface Waiting {
  readonly medium: string;
  readonly address: string;
  readonly room_id: string;
  readonly sender: string;
  readonly token: string;
}

/** Gives an answer in place of the usual one; undefined for the usual one. */
type Script = (request: PeerRequest & { readonly path: string }) => PeerAnswer | undefined;

const V2 = '/_matrix/identity/v2';

export class IdentityServer {
  readonly #authority: TestAuthority;
  readonly #servers: readonly TestServer[];
  /** Public keys by server name: a server asks also while it starts again. */
  readonly #keys: ReadonlyMap<string, string>;
  readonly #longTerm = keyPairFromSeed('0', generateSeed());
  readonly #ephemeral = new Set<string>();
  readonly #waiting: Waiting[] = [];
  /** By access token. */
  readonly #accounts = new Map<string, string>();
  /** Addresses that were proved, by session id. */
  readonly #proved = new Map<string, { readonly address: string; readonly secret: string }>();
  #peer: Peer | undefined;
  #count = 0;
  /** User ids by address. */
  readonly bound = new Map<string, string>();
  pepper = 'matrixrocks';
  algorithms: readonly string[] = ['none', 'sha256'];
  /** False where the long-term key was revoked. */
  isKeyGood = true;
  script: Script = () => undefined;

  /** Knows the servers that it tells of addresses. */
  constructor(authority: TestAuthority, servers: readonly TestServer[]) {
    this.#authority = authority;
    this.#servers = servers;
    this.#keys = new Map(
      servers.map(({ serverName, ctx }) => [serverName, ctx.signingKey.keyPair.publicKey]),
    );
  }

  async start(): Promise<this> {
    this.#peer = await startPeer({ authority: this.#authority, answer: (request) => this.#answer(request) });
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#peer?.[Symbol.asyncDispose]();
  }

  get peer(): Peer {
    if (this.#peer === undefined) throw new Error('the identity server is not started');
    return this.#peer;
  }

  get name(): string {
    return this.peer.name;
  }

  /** A token of a user, as `account/register` gives. */
  tokenFor(userId: string): string {
    this.#count += 1;
    const token = `account-${this.#count}`;
    this.#accounts.set(token, userId);
    return token;
  }

  /** A session in which an address was proved. */
  prove(address: string): { readonly sid: string; readonly client_secret: string } {
    this.#count += 1;
    const [sid, secret] = [`session${this.#count}`, `secret${this.#count}`];
    this.#proved.set(sid, { address, secret });
    return { sid, client_secret: secret };
  }

  /** What it was asked at a path of version 2. */
  asked(path: string): Body[] {
    const requests = this.peer.requests.filter(({ url }) => url === `${V2}${path}`);
    return requests.map(({ body }) => (body === '' ? {} : JSON.parse(body)));
  }

  #answer(request: PeerRequest): PeerAnswer | Promise<PeerAnswer> {
    const url = new URL(request.url, 'https://identity.test');
    const path = url.pathname.replace(V2, '');
    const scripted = this.script({ ...request, path });
    if (scripted !== undefined) return scripted;
    const publicKey = url.searchParams.get('public_key') ?? '';
    if (path === '/pubkey/isvalid')
      return { json: { valid: this.isKeyGood && publicKey === this.#longTerm.publicKey } };
    if (path === '/pubkey/ephemeral/isvalid') return { json: { valid: this.#ephemeral.has(publicKey) } };
    const body: Body = request.body === '' ? {} : JSON.parse(request.body);
    if (path === '/3pid/unbind') return this.#unbind(request, body);
    const account = this.#accounts.get(request.headers.authorization?.replace('Bearer ', '') ?? '');
    if (account === undefined) return refusal(401, 'M_UNAUTHORIZED');
    switch (`${request.method} ${path}`) {
      case 'GET /hash_details':
        return { json: { lookup_pepper: this.pepper, algorithms: [...this.algorithms] } };
      case 'POST /lookup':
        return this.#lookup(body);
      case 'POST /store-invite':
        return body.sender === account ? this.#store(body) : refusal(403, 'M_UNAUTHORIZED');
      case 'POST /3pid/bind':
        return this.#bind(body);
      default:
        return refusal(404, 'M_UNRECOGNIZED');
    }
  }

  #lookup({ addresses, algorithm, pepper }: Body): PeerAnswer {
    if (pepper !== this.pepper) return refusal(400, 'M_INVALID_PEPPER');
    if (!this.algorithms.includes(algorithm)) return refusal(400, 'M_INVALID_PARAM');
    const mappings: Record<string, string> = {};
    for (const [address, userId] of this.bound) {
      const text = algorithm === 'none' ? `${address} email` : `${address} email ${this.pepper}`;
      const key = algorithm === 'none' ? text : createHash('sha256').update(text).digest('base64url');
      if (addresses.includes(key)) mappings[key] = userId;
    }
    return { json: { mappings } };
  }

  #store({ medium, address, room_id, sender }: Body): PeerAnswer {
    if (medium !== 'email') return refusal(400, 'M_UNRECOGNIZED');
    this.#count += 1;
    const token = `token${this.#count}`;
    const { publicKey } = keyPairFromSeed('e', generateSeed());
    this.#ephemeral.add(publicKey);
    this.#waiting.push({ medium, address, room_id, sender, token });
    const base = `https://${this.name}${V2}/pubkey`;
    const keys = [
      { public_key: this.#longTerm.publicKey, key_validity_url: `${base}/isvalid` },
      { public_key: publicKey, key_validity_url: `${base}/ephemeral/isvalid` },
    ];
    return { json: { token, public_keys: keys, display_name: `${String(address).slice(0, 1)}...@...` } };
  }

  async #bind({ sid, client_secret: secret, mxid }: Body): Promise<PeerAnswer> {
    const proved = this.#proved.get(sid);
    if (proved === undefined || proved.secret !== secret) return refusal(404, 'M_NO_VALID_SESSION');
    const { address } = proved;
    this.bound.set(address, mxid);
    await this.tell(address, mxid);
    const now = Date.now();
    const said = { address, medium: 'email', mxid, ts: now, not_before: now, not_after: now + 1_000_000 };
    return { json: signJson(said, this.name, this.#longTerm) };
  }

  /** Tells the server of the user of the invitations that wait for an address; answers the status. */
  async tell(address: string, mxid: string, method = 'PUT'): Promise<number> {
    const waiting = this.#waiting.filter((one) => one.address === address);
    const invites = waiting.map(({ token, ...invite }) => ({
      ...invite,
      mxid,
      signed: this.signed(mxid, token),
    }));
    const server = this.#servers.find(({ serverName }) => mxid.endsWith(`:${serverName}`));
    if (server === undefined) throw new Error(`no server of ${mxid}`);
    const body = { address, medium: 'email', mxid, invites };
    return send(`${server.federationUrl}/_matrix/federation/v1/3pid/onbind`, {
      method,
      body,
      ca: this.#authority.cert,
    });
  }

  /** Its word that an invitation is of a user. */
  signed(mxid: string, token: string): JsonObject {
    return signJson({ mxid, token }, this.name, this.#longTerm);
  }

  /** As Sydent verifies it. */
  #unbind({ headers, method, url }: PeerRequest, content: Body): PeerAnswer {
    const auth = parseXMatrix(headers.authorization ?? '');
    const publicKey = this.#keys.get(auth?.origin ?? '');
    if (auth === undefined || publicKey === undefined) return refusal(401, 'M_UNAUTHORIZED');
    const signed = { method, uri: url, origin: auth.origin, destination_is: this.name, content };
    const key = publicKeyFrom(publicKey);
    const isRight = key !== undefined && verifySync(key, encodeCanonical(signed), auth.sig);
    const isTheirs = content.mxid.endsWith(`:${auth.origin}`);
    if (!isRight || !isTheirs) return refusal(403, 'M_FORBIDDEN');
    if (this.bound.get(content.threepid.address) === content.mxid)
      this.bound.delete(content.threepid.address);
    return { json: {} };
  }
}

function refusal(status: number, errcode: string): PeerAnswer {
  return { status, json: { errcode, error: 'refused' } };
}

function send(
  url: string,
  { method, body, ca }: { method: string; body: JsonObject; ca: string },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(url, { method, ca, servername: 'localhost' });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      incoming.resume().once('end', () => resolve(incoming.statusCode ?? 0));
    });
    outgoing.end(encodeCanonical(body));
  });
}
