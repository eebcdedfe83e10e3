/** By what clients name a room and picture it: `name`, `avatar`, `heroes`, and how many are in it. */

import type { UserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { currentStateEvents } from '#rooms/state.ts';
import { heroesOf } from '#rooms/summary.ts';
import * as memberships from '#storage/memberships.ts';
import { SUMMARY_TYPES } from '../sync/state-part.ts';
import type { Face } from './request.ts';

const NAME = 'm.room.name';
const AVATAR = 'm.room.avatar';
const MEMBER = 'm.room.member';

export interface NamingAsked {
  readonly roomNid: number;
  readonly userId: UserId;
  readonly face: Face;
  /** The types of state that have changed; undefined for all there is to say. */
  readonly changedTypes: ReadonlySet<string> | undefined;
}

/** Members of the room's object, as JSON, of what is new; empty where nothing is. */
export async function namingMembers(ctx: RoomsContext, asked: NamingAsked): Promise<string[]> {
  const { roomNid, userId, face, changedTypes } = asked;
  const isWhole = changedTypes === undefined;
  const hasChanged = (type: string) => isWhole || changedTypes.has(type);
  const hasNewSummary = isWhole || changedTypes.values().some((type) => SUMMARY_TYPES.has(type));
  if (!hasNewSummary && !hasChanged(AVATAR)) return [];
  const [name, avatar] = await nameAndAvatar(ctx, roomNid);
  const members: string[] = [];
  if (name !== undefined && hasChanged(NAME)) members.push(`"name":${JSON.stringify(name)}`);
  // "`name` can be null if the room name is removed" is new with the stable face.
  else if (hasChanged(NAME) && !isWhole && face === 'stable') members.push('"name":null');
  if (avatar !== undefined && hasChanged(AVATAR)) members.push(`"avatar":${JSON.stringify(avatar)}`);
  else if (hasChanged(AVATAR) && !isWhole) members.push('"avatar":null');
  // "Heroes are only included if the room name is not set."
  if (hasNewSummary && name === undefined)
    members.push(`"heroes":${JSON.stringify(await heroes(ctx, roomNid, userId))}`);
  if (hasChanged(MEMBER)) {
    const { joined, invited } = await memberships.countsIn(ctx.db, roomNid);
    members.push(`"joined_count":${joined}`, `"invited_count":${invited}`);
  }
  return members;
}

async function nameAndAvatar(
  ctx: RoomsContext,
  roomNid: number,
): Promise<[name: string | undefined, avatar: string | undefined]> {
  const events = await currentStateEvents(ctx, roomNid, [
    { type: NAME, stateKey: '' },
    { type: AVATAR, stateKey: '' },
  ]);
  const content = (type: string): Event['content'] =>
    events.find(({ event }) => event.type === type)?.event.content ?? {};
  return [textAt(content(NAME), 'name'), textAt(content(AVATAR), 'url')];
}

/** Undefined for an empty text too: "if the name is empty [...] as if the event was not there". */
function textAt(content: Event['content'], key: string): string | undefined {
  const text = stringAt(content, key);
  return text === '' ? undefined : text;
}

async function heroes(
  ctx: RoomsContext,
  roomNid: number,
  userId: UserId,
): Promise<{ user_id: string; displayname?: string; avatar_url?: string }[]> {
  const userIds = await heroesOf(ctx, roomNid, userId);
  const events = await currentStateEvents(
    ctx,
    roomNid,
    userIds.map((hero) => ({ type: MEMBER, stateKey: hero })),
  );
  const contents = new Map(events.map(({ event }) => [event.stateKey, event.content]));
  return userIds.map((hero) => {
    const content = contents.get(hero) ?? {};
    const [displayname, avatarUrl] = [stringAt(content, 'displayname'), stringAt(content, 'avatar_url')];
    return {
      user_id: hero,
      ...(displayname !== undefined && { displayname }),
      ...(avatarUrl !== undefined && { avatar_url: avatarUrl }),
    };
  });
}
