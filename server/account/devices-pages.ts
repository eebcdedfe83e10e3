/** The devices of a person: to see, to rename, and to sign out. */

import type { FastifyInstance, FastifyReply } from 'fastify';
import * as devices from '#storage/devices.ts';
import { signOut } from '../auth/accounts.ts';
import { renameDevice } from '../auth/rename-device.ts';
import type { ServerContext } from '../context.ts';
import type { Speech } from '../languages/choose.ts';
import { fill } from '../languages/texts.ts';
import { hiddenField, inputField } from '../pages/fields.ts';
import { type Html, html } from '../pages/html.ts';
import { queryString } from '../query.ts';
import { formToken, sendAccountPage } from './account-page.ts';
import { dateText } from './dates.ts';
import { DEVICE, DEVICE_SIGN_OUT, DEVICES, withDevice } from './paths.ts';
import { goBack, onGet, onPost, type Visit } from './visit.ts';

export function devicesPages(pages: FastifyInstance, ctx: ServerContext): void {
  onGet(pages, ctx, DEVICES, { act: (visit) => sendList(ctx, visit) });
  onGet(pages, ctx, DEVICE, {
    act: async (visit) => {
      const device = await deviceOf(ctx, visit, queryString(visit.request.query, 'device_id'));
      return device === undefined ? sendUnknown(visit) : sendDevice(visit, device);
    },
  });
  onPost(pages, ctx, DEVICE, { from: DEVICES, act: (visit) => rename(ctx, visit) });
  onGet(pages, ctx, DEVICE_SIGN_OUT, {
    isSensitive: true,
    act: async (visit) => {
      const device = await deviceOf(ctx, visit, queryString(visit.request.query, 'device_id'));
      return device === undefined ? sendUnknown(visit) : sendQuestion(visit, device);
    },
  });
  onPost(pages, ctx, DEVICE_SIGN_OUT, {
    ...{ from: DEVICES, isSensitive: true },
    act: async (visit) => {
      const device = await deviceOf(ctx, visit, visit.form.get('device_id'));
      if (device !== undefined) await signOut(ctx, visit.person.userId, [device.deviceId]);
      return goBack(visit, DEVICES, 'signed_out');
    },
  });
}

async function deviceOf(
  { db }: ServerContext,
  { person }: Visit,
  deviceId: string | null | undefined,
): Promise<devices.Device | undefined> {
  return typeof deviceId === 'string' ? devices.of(db, person.userId, deviceId) : undefined;
}

async function rename(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { userId } = visit.person;
  ctx.limits.take('account_data', userId);
  const device = await deviceOf(ctx, visit, visit.form.get('device_id'));
  if (device === undefined) return sendUnknown(visit);
  const { deviceId } = device;
  const name = visit.form.get('name')?.trim() ?? '';
  await ctx.db.write('devices.rename', (tx) => renameDevice(ctx, tx, { userId, deviceId }, name));
  return goBack(visit, withDevice(DEVICE, deviceId), 'saved');
}

async function sendList(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { speech, person } = visit;
  const { account, devices: words } = speech.texts;
  const known = await devices.ofUser(ctx.db, person.userId);
  const items = known.map(
    (device) => html`<li>
<a href="${withDevice(DEVICE, device.deviceId)}" aria-label="${fill(words.details, { device: nameOf(device, speech) })}">${nameOf(device, speech)}</a>
${facts(device, speech)}</li>`,
  );
  const list = html`<p>${words.explains}</p>
<ul class="links">
${items}
</ul>`;
  const body = known.length === 0 ? html`<p>${words.none}</p>` : list;
  return sendAccountPage(visit, { path: DEVICES, title: account.devices, body });
}

function sendDevice(visit: Visit, device: devices.Device): FastifyReply {
  const { speech } = visit;
  const { devices: words } = speech.texts;
  const { deviceId, displayName = '' } = device;
  const name = { name: 'name', label: words.name, value: displayName, autocomplete: 'off', isOptional: true };
  const body = html`${facts(device, speech)}
<form method="post" action="${DEVICE}">
${formToken(visit)}
${hiddenField('device_id', deviceId)}
${inputField(name)}
<button>${words.rename}</button>
</form>
<p><a class="button second" href="${withDevice(DEVICE_SIGN_OUT, deviceId)}">${words.signOut}</a></p>`;
  return sendAccountPage(visit, { path: withDevice(DEVICE, deviceId), title: nameOf(device, speech), body });
}

function sendQuestion(visit: Visit, device: devices.Device): FastifyReply {
  const { speech } = visit;
  const { devices: words, page } = speech.texts;
  const { deviceId } = device;
  const body = html`<p>${fill(words.signOutWarning, { device: nameOf(device, speech) })}</p>
${facts(device, speech)}
<form method="post" action="${DEVICE_SIGN_OUT}">
${formToken(visit)}
${hiddenField('device_id', deviceId)}
<button>${words.signOut}</button>
<a class="button second" href="${DEVICES}">${page.cancel}</a>
</form>`;
  const path = withDevice(DEVICE_SIGN_OUT, deviceId);
  return sendAccountPage(visit, { path, title: words.signOutTitle, body });
}

function sendUnknown(visit: Visit): FastifyReply {
  const { account, devices: words } = visit.speech.texts;
  return sendAccountPage(visit, {
    ...{ path: DEVICES, title: account.devices, problem: words.unknown, status: 404 },
  });
}

function facts(device: devices.Device, speech: Speech): Html {
  const { devices: words } = speech.texts;
  const { deviceId, lastSeenTs, lastSeenIp } = device;
  const seen = lastSeenTs === undefined ? words.never : dateText(lastSeenTs, speech);
  return html`<dl>
<dt>${words.id}</dt><dd><code>${deviceId}</code></dd>
<dt>${words.lastSeen}</dt><dd>${seen}</dd>
<dt>${words.address}</dt><dd>${lastSeenIp ?? words.never}</dd>
</dl>`;
}

function nameOf({ displayName }: devices.Device, { texts }: Speech): string {
  return displayName === undefined || displayName.trim() === '' ? texts.devices.unnamed : displayName;
}
