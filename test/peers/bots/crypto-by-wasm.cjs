/**
 * What matrix-bot-sdk expects of `@matrix-org/matrix-sdk-crypto-nodejs`, by `@matrix-org/matrix-sdk-crypto-wasm`: the same
 * encryption of the Matrix Rust SDK, compiled to another target. The former fetches its program from elsewhere than the
 * registry when it is installed. Keys live as long as the process.
 */

const wasm = require('@matrix-org/matrix-sdk-crypto-wasm');

/** The wasm takes what it is given in lists, and whoever gives it goes on using it. */
const copies = (userIds) => userIds.map((userId) => userId.clone());

/** A request as the other target words it. */
function request({ id, type, body, event_type: eventType }) {
  if (type !== wasm.RequestType.ToDevice) return { id, type, body };
  const { messages } = JSON.parse(body);
  return { id, type, body: JSON.stringify({ txn_id: id, event_type: eventType, messages }) };
}

class OlmMachine {
  #machine;

  static async initialize(userId, deviceId) {
    await wasm.initAsync();
    const machine = new OlmMachine();
    machine.#machine = await wasm.OlmMachine.initialize(userId, deviceId);
    return machine;
  }

  get identityKeys() {
    return this.#machine.identityKeys;
  }

  async outgoingRequests() {
    return (await this.#machine.outgoingRequests()).map(request);
  }

  markRequestAsSent(id, type, answer) {
    return this.#machine.markRequestAsSent(id, type, answer);
  }

  updateTrackedUsers(userIds) {
    return this.#machine.updateTrackedUsers(copies(userIds));
  }

  async getMissingSessions(userIds) {
    const claim = await this.#machine.getMissingSessions(copies(userIds));
    return claim && request(claim);
  }

  async shareRoomKey(roomId, userIds, settings) {
    const requests = await this.#machine.shareRoomKey(roomId, copies(userIds), settings);
    return JSON.stringify(requests.map((each) => JSON.parse(request(each).body)));
  }

  encryptRoomEvent(roomId, type, content) {
    return this.#machine.encryptRoomEvent(roomId, type, content);
  }

  decryptRoomEvent(event, roomId) {
    const settings = new wasm.DecryptionSettings(wasm.TrustRequirement.Untrusted);
    return this.#machine.decryptRoomEvent(event, roomId, settings);
  }

  async receiveSyncChanges(events, lists, counts, unusedFallbackKeys) {
    const received = await this.#machine.receiveSyncChanges(
      ...[events, lists, new Map(Object.entries(counts)), new Set(unusedFallbackKeys)],
      new wasm.DecryptionSettings(wasm.TrustRequirement.Untrusted),
    );
    return JSON.stringify(received.map(({ rawEvent }) => JSON.parse(rawEvent)));
  }
}

const { UserId, DeviceId, RoomId, DeviceLists, EncryptionSettings, Attachment, EncryptedAttachment } = wasm;
module.exports = {
  ...{ OlmMachine, UserId, DeviceId, RoomId, DeviceLists, EncryptionSettings, Attachment, EncryptedAttachment },
  StoreType: { Sled: 0, Sqlite: 1 },
};
