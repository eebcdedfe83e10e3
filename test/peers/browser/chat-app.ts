/** A client in a web page, of matrix-js-sdk: signs in by OAuth, syncs, says things, signs out. It runs in Chromium. */

import { createClient, type MatrixClient, MsgType, Preset, SyncState } from 'matrix-js-sdk';
import { OAuth2 } from 'matrix-js-sdk/lib/oauth/index.js';

/** What the page has of a browser: the tests are checked without its types. */
interface PageGlobals {
  readonly location: { readonly href: string; readonly origin: string; assign(url: string): void };
  readonly sessionStorage: { getItem(key: string): string | null; setItem(key: string, text: string): void };
  chat: Chat;
}

/** What the test does with the page. */
export interface Chat {
  signIn(baseUrl: string): Promise<void>;
  /** Back from the pages of the server. */
  arrive(): Promise<string>;
  createRoom(): Promise<string>;
  say(roomId: string, body: string): Promise<void>;
  heard(roomId: string): string[];
  refresh(): Promise<string>;
  signOut(): Promise<string>;
}

interface Kept {
  readonly baseUrl: string;
  readonly clientId: string;
  readonly deviceId: string;
  readonly codeVerifier: string;
  readonly state: string;
}

const page = globalThis as unknown as PageGlobals;
const redirectUri = `${page.location.origin}/`;
let client: MatrixClient;
let oauth: OAuth2;
let refreshToken = '';

page.chat = {
  async signIn(baseUrl) {
    const metadata = await createClient({ baseUrl }).getAuthMetadata();
    const clientId = await OAuth2.registerClient(metadata, {
      ...{ client_name: 'Chat', client_uri: redirectUri, application_type: 'web' },
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
    });
    oauth = new OAuth2(metadata, { clientId });
    const { deviceId, codeVerifier } = oauth.context;
    const state = `state of ${deviceId}`;
    const kept: Kept = { baseUrl, clientId, deviceId, codeVerifier, state };
    page.sessionStorage.setItem('kept', JSON.stringify(kept));
    page.location.assign(await oauth.generateAuthorizationCodeGrantUrl(state, redirectUri));
  },

  async arrive() {
    const kept: Kept = JSON.parse(page.sessionStorage.getItem('kept') ?? '');
    const answer = new URLSearchParams(new URL(page.location.href).hash.slice(1));
    if (answer.get('state') !== kept.state) throw new Error(`not our state: ${page.location.href}`);
    const { baseUrl, deviceId } = kept;
    oauth = new OAuth2(await createClient({ baseUrl }).getAuthMetadata(), kept);
    const tokens = await oauth.completeAuthorizationCodeGrant(answer.get('code') ?? '', redirectUri);
    refreshToken = tokens.refresh_token ?? '';
    const accessToken = tokens.access_token;
    const { user_id: userId } = await createClient({ baseUrl, accessToken }).whoami();
    client = createClient({ baseUrl, accessToken, userId, deviceId });
    await client.startClient({ initialSyncLimit: 10 });
    await until(() => client.getSyncState() === SyncState.Syncing);
    return userId;
  },

  async createRoom() {
    const { room_id: roomId } = await client.createRoom({ preset: Preset.PublicChat, name: 'Permits' });
    await until(() => client.getRoom(roomId) !== null);
    return roomId;
  },

  async say(roomId, body) {
    await client.sendMessage(roomId, { msgtype: MsgType.Text, body });
  },

  heard(roomId) {
    const events = client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
    return events
      .filter((event) => event.getType() === 'm.room.message')
      .map((event) => event.getContent().body);
  },

  async refresh() {
    const tokens = await oauth.performRefreshTokenGrant(refreshToken);
    refreshToken = tokens.refresh_token ?? '';
    client.setAccessToken(tokens.access_token);
    return (await client.whoami()).user_id;
  },

  async signOut() {
    client.stopClient();
    await oauth.revokeToken(client.getAccessToken() ?? '', 'access_token');
    try {
      await client.whoami();
      return 'still signed in';
    } catch (error) {
      return (error as { errcode?: string }).errcode ?? String(error);
    }
  },
};

async function until(isSo: () => boolean): Promise<void> {
  const end = Date.now() + 60_000;
  while (!isSo()) {
    if (Date.now() > end) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
