/** What the pages of OAuth 2.0 say in German. */

import type { Texts } from './texts.ts';

export const oauthDe: Texts['oauth'] = {
  consent: {
    title: 'Bei {client} anmelden?',
    asks: '{client} ({host}) möchte Ihr Konto {userId} auf diesem Server benutzen.',
    can: 'Das Programm kann dann in Ihrem Namen Nachrichten lesen und senden sowie Ihre Räume und Ihr Profil ändern, bis Sie es abmelden.',
    leadsTo: 'Danach geht es weiter zu {target}.',
    onlyIf: 'Erlauben Sie das nur, wenn Sie gerade selbst begonnen haben, sich dort anzumelden.',
    replaces: 'Es tritt an die Stelle eines Geräts, auf dem Sie schon angemeldet sind ({deviceId}).',
    allow: 'Erlauben',
    deny: 'Nicht erlauben',
    other: 'Ein anderes Konto benutzen',
    tos: 'Nutzungsbedingungen von {client}',
    policy: 'Datenschutzerklärung von {client}',
  },
  problem: {
    title: 'Die Anmeldung ist nicht möglich',
    unknownClient:
      'Das Programm, das Sie hierher geschickt hat, ist diesem Server nicht bekannt. Gehen Sie dorthin zurück, und beginnen Sie die Anmeldung von vorn.',
    badRedirect:
      'Das Programm, das Sie hierher geschickt hat, will Sie zu einer Adresse weiterleiten, die es nicht registriert hat. Dorthin wurde nichts gesendet.',
    tooLong: 'Die Anfrage des Programms, das Sie hierher geschickt hat, ist zu lang.',
    badRequest: 'Die Anfrage des Programms, das Sie hierher geschickt hat, ist fehlerhaft: {problem}.',
    goBack: 'Zurück zu {target}',
    tooMany: 'Zu viele Versuche: Warten Sie einige Minuten, und versuchen Sie es dann noch einmal.',
  },
  device: {
    title: 'Ein anderes Gerät anmelden',
    code: 'Code',
    codeHint: 'Geben Sie den Code ein, den das andere Gerät anzeigt.',
    wrongCode:
      'Einen solchen Code gibt es nicht, oder er ist zu alt. Prüfen Sie ihn, oder beginnen Sie auf dem anderen Gerät von vorn.',
    confirmTitle: 'Das andere Gerät anmelden?',
    compare: 'Das andere Gerät muss diesen Code anzeigen:',
    asks: '{client} ({host}) auf einem anderen Gerät möchte Ihr Konto {userId} auf diesem Server benutzen.',
    from: 'Die Anfrage kam von der Adresse {address}.',
    onlyIf:
      'Erlauben Sie das nur, wenn Sie gerade selbst begonnen haben, sich auf diesem Gerät anzumelden, und es vor sich haben. Niemals, weil Ihnen jemand den Code oder einen Link geschickt hat.',
    allow: 'Die Codes sind gleich: erlauben',
    done: 'Das andere Gerät ist angemeldet',
    isDone: 'Machen Sie dort weiter. Diese Seite kann geschlossen werden.',
    denied: 'Das andere Gerät ist nicht angemeldet',
    isDenied: 'Es wurde nichts erlaubt. Diese Seite kann geschlossen werden.',
  },
};
