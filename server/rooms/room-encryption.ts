/**
 * Encryption that rooms get though nobody asked for it, and that stays:
 * https://spec.matrix.org/v1.19/client-server-api/#mroomencryption
 */

import { isObject, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { type NewRoom, type Preset, presetOf } from '#rooms/initial-events.ts';
import { getRoom } from '#rooms/room.ts';
import type { Draft } from '#rooms/send.ts';
import { currentStateEvent } from '#rooms/state.ts';
import type { Config } from '../config-options.ts';
import type { ServerContext } from '../context.ts';

const ENCRYPTION = 'm.room.encryption';

/** Whether new rooms of a preset are encrypted, unless their maker says otherwise. */
export function encryptsPreset({ encryptionByDefault }: Config, preset: Preset): boolean {
  switch (encryptionByDefault) {
    case 'off':
      return false;
    case 'invite':
      return preset !== 'public_chat';
    case 'all':
      return true;
  }
}

/** Whether a new room is. Spaces are not: nobody writes in them. */
export function encryptsRoom(config: Config, room: NewRoom): boolean {
  return encryptsPreset(config, presetOf(room)) && own(room.creationContent ?? {}, 'type') !== 'm.space';
}

/** Why a room cannot be made as its maker wants it: without the encryption that it must have. */
export function refusalOfRoom(config: Config, room: NewRoom): string | undefined {
  if (!config.encryptionForced || !encryptsRoom(config, room)) return undefined;
  const given = room.initialState?.filter(isObject).filter(isEncryption) ?? [];
  return given.every((event) => isOn(objectAt(event, 'content') ?? {})) ? undefined : OFF;
}

/** Why an event cannot be sent: it would end the encryption of its room. */
export async function refusalOfEnd(ctx: ServerContext, draft: Draft): Promise<string | undefined> {
  if (!ctx.config.encryptionForced) return undefined;
  if (draft.type === ENCRYPTION && draft.stateKey === '') return isOn(draft.content) ? undefined : OFF;
  if (draft.redacts === undefined) return undefined;
  const room = await getRoom(ctx, draft.roomId);
  const current = room && (await currentStateEvent(ctx, room.roomNid, ENCRYPTION, ''));
  return current?.event.eventId === draft.redacts ? OFF : undefined;
}

const OFF = 'Encryption cannot be turned off on this server';

function isEncryption(event: JsonObject): boolean {
  return own(event, 'type') === ENCRYPTION && (own(event, 'state_key') ?? '') === '';
}

function isOn(content: JsonObject): boolean {
  return (stringAt(content, 'algorithm') ?? '') !== '';
}
