/** What is known of how one user is, and what follows from it. */

import type { PresenceState } from './presence.ts';

/** How a user is now. */
export interface Presence {
  readonly state: PresenceState;
  readonly statusMsg: string | undefined;
  /** In milliseconds since 1970. */
  readonly lastActiveTs: number | undefined;
  /** Online, and active within the last minute: `currently_active`. */
  readonly isActive: boolean;
}

/** A device of a user of ours, as it says it is. */
export interface PresentDevice {
  state: PresenceState;
  seenTs: number;
  /** Requests of it that wait for news. */
  syncs: number;
}

/** A device while a request of it waits for news. */
export class SyncingDevice implements Disposable {
  readonly #device: PresentDevice;
  readonly #clock: { now(): number };

  constructor(device: PresentDevice, clock: { now(): number }) {
    this.#device = device;
    this.#clock = clock;
    device.syncs += 1;
  }

  [Symbol.dispose](): void {
    this.#device.syncs -= 1;
    this.#device.seenTs = this.#clock.now();
  }
}

export interface PresenceEntry {
  /** Of a user of ours, those heard of last at the end. */
  readonly devices: Map<string, PresentDevice>;
  /** Of a user of another server: as that server says, and until when it is believed. */
  told: { readonly state: PresenceState; readonly isActive: boolean; readonly untilTs: number } | undefined;
  /** What was last announced, or is about to be. */
  state: PresenceState;
  isActive: boolean;
  statusMsg: string | undefined;
  lastActiveTs: number | undefined;
  /** Where it was last announced; undefined where that is still to come. */
  position: number | undefined;
  /** Until then the user is as last judged, unless a device, or another server, says something. */
  steadyUntilTs: number;
  /** It has made room for others: whoever has kept it looks for another one. */
  isGone: boolean;
}

/** How a user is at a time, and until when time alone changes nothing of it. */
type Judgement = Pick<Presence, 'state' | 'isActive'> & Pick<PresenceEntry, 'steadyUntilTs'>;

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
/** A user whose devices have not been heard of for so long is offline. */
const GONE_MS = 30 * SECOND;
/** "Set a user's presence to `unavailable` if their last active time was over a threshold value (e.g. 5 minutes)." */
const IDLE_MS = 5 * MINUTE;
const ACTIVE_MS = MINUTE;

const FOR_EVER = Number.POSITIVE_INFINITY;

/** Of whom nothing is known. */
export const ABSENT: Presence = {
  state: 'offline',
  statusMsg: undefined,
  lastActiveTs: undefined,
  isActive: false,
};

export function newPresenceEntry(): PresenceEntry {
  return {
    ...ABSENT,
    devices: new Map(),
    told: undefined,
    position: undefined,
    steadyUntilTs: 0,
    isGone: false,
  };
}

/** True where it was announced after a position how the user is, or may have been. */
export function hasChangedSince({ position }: Pick<PresenceEntry, 'position'>, since: number): boolean {
  return position === undefined || position > since;
}

/** Devices that were not heard of for long are forgotten. */
export function judgePresence(entry: PresenceEntry, now: number): Judgement {
  if (entry.told === undefined) return judgeByDevices(entry, now);
  const { state, isActive, untilTs } = entry.told;
  return now < untilTs
    ? { state, isActive, steadyUntilTs: untilTs }
    : { state: ABSENT.state, isActive: false, steadyUntilTs: FOR_EVER };
}

/** By the best that a device says of its user. */
function judgeByDevices({ devices, lastActiveTs }: PresenceEntry, now: number): Judgement {
  let [isOnline, isThere, goneTs] = [false, false, FOR_EVER];
  for (const [deviceId, { state, seenTs, syncs }] of devices) {
    // A request that waits may end at any time.
    const untilTs = (syncs === 0 ? seenTs : now) + GONE_MS;
    if (untilTs <= now) {
      devices.delete(deviceId);
      continue;
    }
    goneTs = Math.min(goneTs, untilTs);
    isOnline ||= state === 'online';
    isThere ||= state !== 'offline';
  }
  const [activeUntilTs, idleTs] =
    lastActiveTs === undefined ? [FOR_EVER, FOR_EVER] : [lastActiveTs + ACTIVE_MS, lastActiveTs + IDLE_MS];
  if (!isOnline || now >= idleTs)
    return { state: isThere ? 'unavailable' : 'offline', isActive: false, steadyUntilTs: goneTs };
  const isActive = now < activeUntilTs;
  return { state: 'online', isActive, steadyUntilTs: Math.min(goneTs, isActive ? activeUntilTs : idleTs) };
}
