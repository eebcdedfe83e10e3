/** The overview of an account, the profile, and the language. */

import type { FastifyInstance, FastifyReply } from 'fastify';
import { stringAt } from '#keys/json.ts';
import * as profiles from '#storage/profiles.ts';
import * as userLanguages from '#storage/user-languages.ts';
import type { ServerContext } from '../context.ts';
import { askedLanguage, languageNames, languageOf, languages } from '../languages/choose.ts';
import { fill } from '../languages/texts.ts';
import { inputField } from '../pages/fields.ts';
import { html } from '../pages/html.ts';
import { MAX_NAME_CHARACTERS, setProfileField } from '../profiles/profile-field.ts';
import { queryString } from '../query.ts';
import { formToken, sendAccountPage } from './account-page.ts';
import { ACCOUNT, LANGUAGE, PROFILE, pathOfAction } from './paths.ts';
import { goBack, onGet, onPost, type Visit } from './visit.ts';

export function settingsPages(pages: FastifyInstance, ctx: ServerContext): void {
  onGet(pages, ctx, ACCOUNT, { act: async (visit) => goToAction(visit) ?? sendAccountOverview(visit) });
  onGet(pages, ctx, PROFILE, { act: (visit) => sendProfile(ctx, visit) });
  onPost(pages, ctx, PROFILE, { from: PROFILE, act: (visit) => saveProfile(ctx, visit) });
  onGet(pages, ctx, LANGUAGE, { act: (visit) => sendLanguages(ctx, visit) });
  onPost(pages, ctx, LANGUAGE, { from: LANGUAGE, act: (visit) => saveLanguage(ctx, visit) });
}

/** "`action` - Can be used to indicate the action that the user wishes to take". */
function goToAction({ request, reply }: Visit): FastifyReply | undefined {
  const { query } = request;
  const path = pathOfAction(queryString(query, 'action') ?? '', queryString(query, 'device_id') ?? '');
  if (path === undefined) return undefined;
  const language = askedLanguage(query);
  const more = language === undefined ? '' : `${path.includes('?') ? '&' : '?'}lang=${language}`;
  return reply.redirect(`${path}${more}`, 303);
}

function sendAccountOverview(visit: Visit): FastifyReply {
  return sendAccountPage(visit, { path: ACCOUNT, body: html`` });
}

async function sendProfile(ctx: ServerContext, visit: Visit, problem?: string): Promise<FastifyReply> {
  const { account: words } = visit.speech.texts;
  const profile = await profiles.of(ctx.db, visit.person.userId);
  const name = {
    ...{ name: 'displayname', label: words.displayName, hint: words.displayNameHint },
    ...{ value: visit.form.get('displayname') ?? stringAt(profile, 'displayname') ?? '' },
    ...{ autocomplete: 'nickname', isOptional: true },
  };
  const body = html`<form method="post" action="${PROFILE}">
${formToken(visit)}
${inputField(name, problem)}
<button>${words.save}</button>
</form>`;
  return sendAccountPage(visit, { path: PROFILE, title: words.profile, body, problem });
}

async function saveProfile(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { person, form, speech } = visit;
  const { userId, user } = person;
  const name = (form.get('displayname') ?? '').trim().toWellFormed();
  if (name.length > MAX_NAME_CHARACTERS) {
    const problem = fill(speech.texts.account.nameTooLong, { most: MAX_NAME_CHARACTERS });
    return await sendProfile(ctx, visit, problem);
  }
  // Others would see it: as by the client-server API, not while the account is suspended.
  if (user.suspendedTs !== undefined) return await sendProfile(ctx, visit, speech.texts.page.failed);
  ctx.limits.take('profile', userId);
  await setProfileField(ctx, { userId, keyName: 'displayname', value: name === '' ? undefined : name });
  return goBack(visit, PROFILE, 'saved');
}

async function sendLanguages(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { account: words } = visit.speech.texts;
  const chosen = await userLanguages.of(ctx.db, visit.person.userId);
  const isNone = chosen === undefined ? html` selected` : html``;
  const options = languages.map(
    (one) =>
      html`<option value="${one}" lang="${one}"${one === chosen ? html` selected` : html``}>${languageNames[one]}</option>`,
  );
  const body = html`<form method="post" action="${LANGUAGE}">
${formToken(visit)}
<label for="language">${words.language}</label>
<p class="hint" id="language-hint">${words.languageHint}</p>
<select id="language" name="language" aria-describedby="language-hint">
<option value=""${isNone}>${words.noLanguage}</option>
${options}
</select>
<button>${words.save}</button>
</form>`;
  return sendAccountPage(visit, { path: LANGUAGE, title: words.language, body });
}

async function saveLanguage(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { userId } = visit.person;
  ctx.limits.take('account_data', userId);
  const language = languageOf(visit.form.get('language') ?? '');
  await ctx.db.write('userLanguages.set', (tx) =>
    language === undefined ? userLanguages.remove(tx, userId) : userLanguages.set(tx, userId, language),
  );
  return goBack(visit, LANGUAGE, 'saved');
}
