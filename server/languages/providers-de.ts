/** What the pages of signing in by others say in German. */

import type { Texts } from './texts.ts';

export const providersDe: Texts['providers'] = {
  notSignedIn: 'Nicht angemeldet',
  tryAgain: 'Noch einmal versuchen',
  notAllowed: 'Ihr Konto beim Identitätsanbieter darf hier nicht verwendet werden.',
  noAccount: 'Sie haben kein Konto auf diesem Server. Die Administration kann Ihnen eines zuordnen.',
  deactivated: 'Ihr Konto auf diesem Server wurde geschlossen.',
  locked: 'Ihr Konto auf diesem Server wurde gesperrt.',
  unknownProvider:
    'Dieser Server kennt diesen Identitätsanbieter nicht. Beginnen Sie in Ihrem Matrix-Client von vorn.',
  notBegun: 'Diese Anmeldung wurde nicht in diesem Browser begonnen, oder sie hat zu lange gedauert.',
  tooMany: 'Zu viele Versuche: Warten Sie eine Minute und versuchen Sie es dann noch einmal.',
  unreachable: '{provider} antwortet gerade nicht, wie es sein sollte. Wer schon angemeldet ist, bleibt es.',
  refused: '{provider} hat Sie nicht angemeldet.',
  invalid: 'Was von {provider} zurückkam, ist nicht, worum dieser Server gebeten hat.',
  fromElsewhere: 'Das Formular wurde von einer anderen Website gesendet.',
  firstTime:
    'Sie melden sich hier zum ersten Mal an. Wählen Sie den Namen Ihres Kontos: Er kann nie geändert werden.',
  nameTaken:
    'Der Name {name} ist vergeben: Wählen Sie einen anderen. Wenn es Ihrer ist, kann die Administration ihn Ihnen zuordnen.',
  nobody: 'Niemand ist dabei, in diesem Browser ein Konto zu bekommen, oder es hat zu lange gedauert.',
  confirmTitle: 'Bestätigen für {serverName}',
  proveAgain: 'Weisen Sie noch einmal nach, wer Sie sind:',
  confirmAsks: 'Ein Matrix-Client möchte dies mit Ihrem Konto tun:',
  confirmWarns:
    'Wenn Sie das nicht erwartet haben, verwendet vielleicht jemand anders Ihr Konto: Gehen Sie dann nicht weiter und sagen Sie es Ihrer Administration.',
  notConfirmed: 'Nicht bestätigt',
  otherUser: 'Sie haben sich als {userId} angemeldet, aber dies soll {owner} bestätigen.',
  confirmOver: 'Was zu bestätigen war, wartet nicht mehr. Beginnen Sie in Ihrem Matrix-Client von vorn.',
  clientTitle: 'Anmelden bei {client}',
  yourClient: 'Ihrem Client',
  clientWebsite:
    'Sie sind {userId}. Wenn Sie weitergehen, kann die Website {client} Ihr Konto auf {serverName} verwenden: Ihre Nachrichten lesen und in Ihrem Namen schreiben.',
  clientProgram:
    'Sie sind {userId}. Wenn Sie weitergehen, kann das Programm, das Adressen mit {client} öffnet, Ihr Konto auf {serverName} verwenden: Ihre Nachrichten lesen und in Ihrem Namen schreiben.',
  clientWarns: 'Gehen Sie nur weiter, wenn Sie gerade selbst begonnen haben, sich dort anzumelden.',
};
