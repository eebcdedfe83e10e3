/** https://spec.matrix.org/v1.19/client-server-api/#authorisation-code-flow, the request */

import type { ServerContext } from '../context.ts';
import { type Client, clientOf } from './clients.ts';
import { paths, type ResponseMode, responseModes } from './metadata.ts';
import { Parameters } from './parameters.ts';
import { isRegistered, withAnswer } from './redirect-uri.ts';
import { type Grant, parseScope } from './scope.ts';

/** What a client asks the user for. */
export interface AuthorizationRequest extends Grant {
  readonly client: Client;
  readonly redirectUri: string;
  readonly codeChallenge: string;
  readonly prompts: ReadonlySet<string>;
  readonly loginHint: string | undefined;
  /** The address of this request on this server, in one spelling. */
  readonly url: string;
  /** The redirect URI with an answer in it. */
  readonly answer: (parameters: Readonly<Record<string, string>>) => string;
}

/** The code of an error that the client is told, and its description. */
interface Refusal {
  readonly error: string;
  readonly description: string;
}

export type CheckedRequest =
  | { readonly kind: 'request'; readonly request: AuthorizationRequest }
  /** "the authorization server [...] MUST NOT automatically redirect the user-agent to the invalid redirection URI" */
  | { readonly kind: 'problem'; readonly problem: 'unknownClient' | 'badRedirect' | 'tooLong' }
  /** `to` tells the client. */
  | {
      readonly kind: 'refusal';
      readonly refusal: Refusal;
      readonly redirectUri: string;
      readonly to: string;
    };

type RequestContext = Pick<ServerContext, 'db' | 'clock'>;

/** It goes on through the address of the sign-in page, encoded once more. */
const MAX_URL = 4_096;
const MAX_HINT = 255;
/** SHA-256 in URL-safe Base64. */
const CHALLENGE = /^[\w-]{43}$/;
/** RFC 6749, appendix A.5 */
const STATE = /^[\x20-\x7e]*$/;
const PROMPTS = ['none', 'login', 'consent', 'select_account', 'create'];

/** What a request asks for, if it may be shown to the user. */
export async function checkRequest(
  ctx: RequestContext,
  search: URLSearchParams,
  issuer: string,
): Promise<CheckedRequest> {
  const url = `${paths.authorize}?${search}`;
  if (url.length > MAX_URL) return { kind: 'problem', problem: 'tooLong' };
  const given = new Parameters(search);
  const client = await clientOf(ctx, given.get('client_id') ?? '');
  if (client === undefined) return { kind: 'problem', problem: 'unknownClient' };
  const redirectUri = given.get('redirect_uri');
  if (redirectUri === undefined || !isRegistered(redirectUri, client.redirect_uris)) {
    return { kind: 'problem', problem: 'badRedirect' };
  }
  const mode: ResponseMode = responseModes.find((one) => one === given.get('response_mode')) ?? 'query';
  const state = given.get('state');
  const echoed = state !== undefined && STATE.test(state) ? { state } : {};
  // "iss": RFC 9207
  const answer = (parameters: Readonly<Record<string, string>>) =>
    withAnswer(redirectUri, mode, { ...parameters, ...echoed, iss: issuer });
  const asked = readRequest(given, client);
  if ('error' in asked) {
    const to = answer({ error: asked.error, error_description: asked.description });
    return { kind: 'refusal', refusal: asked, redirectUri, to };
  }
  return { kind: 'request', request: { ...asked, client, redirectUri, url, answer } };
}

/** The address of a request without some of what it asks for; undefined where nothing of it is left. */
export function withoutPrompt(url: string, prompt: string): string {
  const search = new URLSearchParams(url.slice(url.indexOf('?') + 1));
  const left = promptsOf(search.get('prompt') ?? '').filter((one) => one !== prompt);
  if (left.length === 0) search.delete('prompt');
  else search.set('prompt', left.join(' '));
  return `${paths.authorize}?${search}`;
}

type Asked = Pick<AuthorizationRequest, 'scope' | 'deviceId' | 'codeChallenge' | 'prompts' | 'loginHint'>;

function readRequest(given: Parameters, client: Client): Asked | Refusal {
  const [repeated] = given.repeated;
  if (repeated !== undefined) return invalid('A parameter is given more than once');
  if (!STATE.test(given.get('state') ?? '')) return invalid('state has a character that is in none');
  const refusal = refusalOfKind(given, client);
  if (refusal !== undefined) return refusal;
  const codeChallenge = given.get('code_challenge');
  if (codeChallenge === undefined) return invalid('code_challenge is missing');
  // Without a method it would be "plain".
  if (given.get('code_challenge_method') !== 'S256') return invalid('code_challenge_method must be S256');
  if (!CHALLENGE.test(codeChallenge)) return invalid('code_challenge is none of S256');
  const scope = given.get('scope');
  if (scope === undefined) return { error: 'invalid_scope', description: 'scope is missing' };
  const grant = parseScope(scope);
  if ('fault' in grant) return { error: 'invalid_scope', description: grant.fault };
  const prompts = promptsOf(given.get('prompt') ?? '');
  if (prompts.some((prompt) => !PROMPTS.includes(prompt)))
    return invalid('prompt has a value that is not known');
  if (prompts.includes('none') && prompts.length > 1) return invalid('prompt has none beside another value');
  const loginHint = given.get('login_hint')?.slice(0, MAX_HINT);
  return { ...grant, codeChallenge, prompts: new Set(prompts), loginHint };
}

function refusalOfKind(given: Parameters, client: Client): Refusal | undefined {
  for (const name of ['request', 'request_uri']) {
    if (given.get(name) === undefined) continue;
    return { error: `${name}_not_supported`, description: `${name} is not supported` };
  }
  const type = given.get('response_type');
  if (type === undefined) return invalid('response_type is missing');
  if (type !== 'code')
    return { error: 'unsupported_response_type', description: 'response_type must be code' };
  if (!client.grant_types.includes('authorization_code')) {
    const description = 'The client has not registered the grant type authorization_code';
    return { error: 'unauthorized_client', description };
  }
  const mode = given.get('response_mode') ?? 'query';
  const isKnown = responseModes.some((known) => known === mode);
  return isKnown ? undefined : invalid('response_mode must be query or fragment');
}

function promptsOf(prompt: string): string[] {
  return prompt.split(' ').filter((one) => one !== '');
}

function invalid(description: string): Refusal {
  return { error: 'invalid_request', description };
}
