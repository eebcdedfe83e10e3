/** What our pages and letters say in German. */

import { accountDe } from './account-de.ts';
import { oauthDe } from './oauth-de.ts';
import { providersDe } from './providers-de.ts';
import type { Texts } from './texts.ts';

export const de: Texts = {
  page: {
    language: 'Sprache',
    problem: 'Bitte prüfen Sie dies',
    confirm: 'Bestätigen',
    continue: 'Weiter',
    cancel: 'Abbrechen',
    back: 'Zurück',
    canBeClosed: 'Machen Sie in Ihrem Matrix-Client weiter: Diese Seite kann geschlossen werden.',
    tooMany: 'Zu viele Versuche: Warten Sie {seconds} Sekunden und versuchen Sie es dann noch einmal.',
    expired:
      'Diese Seite war zu lange offen oder wurde von anderswo abgeschickt. Bitte versuchen Sie es noch einmal.',
    failed: 'Das ging nicht. Bitte versuchen Sie es noch einmal.',
  },
  fields: {
    userName: 'Benutzername',
    password: 'Passwort',
    passwordAgain: 'Passwort wiederholen',
    email: 'E-Mail-Adresse',
    registrationToken: 'Registrierungscode',
  },
  passwords: {
    empty: 'Das Passwort ist leer.',
    tooLong: 'Das Passwort ist zu lang.',
    tooShort: 'Das Passwort ist zu kurz: Verwenden Sie mindestens {least} Zeichen.',
    differ: 'Die beiden Passwörter sind verschieden.',
  },
  root: {
    what: 'Dies ist ein Matrix-Server, auf dem Kurir läuft. Die Namen seiner Benutzer enden auf {ending}.',
    signIn: 'Anmelden',
    how: 'Öffnen Sie einen Matrix-Client, etwa Element ({address} oder Element Desktop), wählen Sie einen anderen Heimserver als den vorgeschlagenen und geben Sie ein:',
    closed: 'Konten legt die Administration dieses Servers an.',
    token:
      'Für ein Konto brauchen Sie einen Registrierungscode oder einen Link von der Administration dieses Servers.',
    open: 'Alle können ein Konto anlegen, in einem Client oder auf der Seite {path}.',
    account: 'Ihr Konto: Geräte, Passwort und mehr',
  },
  registration: {
    title: 'Neues Konto auf {serverName}',
    none: 'Kein neues Konto',
    userName: 'Benutzername (wird zu @name:{serverName})',
    create: 'Konto anlegen',
    closed: 'Auf diesem Server kann man sich nicht registrieren.',
    needsEmail:
      'Konten brauchen hier eine bestätigte E-Mail-Adresse: Registrieren Sie sich in einem Matrix-Client, mit dem Code {token}',
    tooMany: 'Zu viele Versuche: Warten Sie eine Minute und laden Sie die Seite dann neu.',
    badLink:
      'Dieser Link ist nicht gültig: Er wurde schon benutzt oder ist zu alt. Die Administration dieses Servers kann Konten mit dem Befehl anlegen: npm run kurir -- user add NAME',
    usedLink: 'Dieser Link wurde inzwischen benutzt.',
    badName: 'Ein Benutzername besteht aus Kleinbuchstaben a-z, Ziffern und den Zeichen . _ = - / +',
    taken: 'Der Name {name} ist vergeben.',
    mustAccept: 'Für ein Konto müssen Sie den Richtlinien zustimmen.',
    welcome: 'Willkommen',
    account: 'Ihr Konto ist {userId}.',
    next: 'Öffnen Sie nun einen Matrix-Client, etwa Element ({address} oder Element Desktop), wählen Sie einen anderen Heimserver als den vorgeschlagenen, geben Sie {server} ein und melden Sie sich mit Benutzername und Passwort an.',
  },
  terms: {
    accept: 'Ich habe diese Richtlinien gelesen und stimme ihnen zu',
    title: 'Richtlinien von {serverName}',
    asks: 'Bitte lesen Sie diese Richtlinien. Ohne Ihre Zustimmung kann {userId} auf diesem Server lesen, aber nicht schreiben.',
    accepted: 'Richtlinien angenommen',
    changed: 'Die Richtlinien haben sich inzwischen geändert. Bitte lesen Sie sie noch einmal.',
    none: 'Nichts anzunehmen',
    invalid: 'Dieser Link ist nicht gültig. Öffnen Sie den, den Ihr Matrix-Programm zeigt.',
    notice:
      'Bitte lesen Sie die Richtlinien von {serverName} und stimmen Sie ihnen auf dieser Seite zu: {url}',
  },
  stages: {
    title: 'Bestätigen für {serverName}',
    send: 'E-Mail senden',
    sent: 'Eine E-Mail ist unterwegs. Öffnen Sie den Link darin, bestätigen Sie dort und machen Sie dann hier weiter.',
    done: 'Bestätigt',
    isDone: 'Fertig. Machen Sie in Ihrem Matrix-Client weiter: Diese Seite kann geschlossen werden.',
    nothing: 'Nichts zu bestätigen',
    unknown:
      'Diese Seite gehört zu nichts, was gerade läuft: Vielleicht hat es zu lange gedauert. Beginnen Sie in Ihrem Matrix-Client von vorn.',
    mustAccept: 'Stimmen Sie den Richtlinien zu, um weiterzumachen.',
    wrongPassword: 'Das Passwort stimmt nicht.',
    wrongToken: 'Der Registrierungscode ist nicht gültig.',
    notConfirmed: 'Die Adresse ist noch nicht bestätigt: Öffnen Sie zuerst den Link in der E-Mail.',
    emailTaken: 'Diese Adresse gehört schon zu einem Konto.',
    emailRefused: 'Diese Adresse kann hier nicht verwendet werden.',
    noLetter: 'Die E-Mail konnte nicht gesendet werden: Versuchen Sie es später noch einmal.',
  },
  emailPage: {
    title: 'E-Mail-Adresse für {serverName}',
    register: 'Jemand möchte mit der E-Mail-Adresse, an die der Link ging, ein Konto anlegen.',
    password:
      'Jemand möchte ein neues Passwort für das Konto mit der E-Mail-Adresse festlegen, an die der Link ging. Wenn Sie es nicht waren, schließen Sie diese Seite.',
    add: 'Jemand möchte die E-Mail-Adresse, an die der Link ging, zu seinem Konto hinzufügen.',
    confirmed: 'Bestätigt',
    isConfirmed:
      'Die Adresse ist bestätigt. Machen Sie dort weiter, wo Sie begonnen haben, in Ihrem Matrix-Client oder Ihrem Browser: Diese Seite kann geschlossen werden.',
    notConfirmed: 'Nicht bestätigt',
    invalid:
      'Dieser Link ist nicht gültig: Er ist zu alt, es wurde eine neuere E-Mail gesendet, oder er wurde schon benutzt. Fordern Sie eine neue E-Mail an.',
  },
  loginFallback: {
    title: 'Bei {serverName} anmelden',
    needsScript: 'Diese Seite braucht JavaScript, um Ihrem Matrix-Client zu sagen, dass Sie angemeldet sind.',
    done: 'Sie sind angemeldet. Machen Sie in Ihrem Matrix-Client weiter: Diese Seite kann geschlossen werden.',
    signIn: 'Anmelden',
  },
  letters: {
    confirmSubject: 'Bestätigen Sie Ihre E-Mail-Adresse ({serverName})',
    passwordSubject: 'Neues Passwort festlegen ({serverName})',
    registerAsks:
      'Jemand möchte mit dieser E-Mail-Adresse ein Konto auf dem Matrix-Server {serverName} anlegen.',
    passwordAsks:
      'Jemand möchte ein neues Passwort für das Konto mit dieser E-Mail-Adresse auf dem Matrix-Server {serverName} festlegen.',
    addAsks:
      'Jemand möchte diese E-Mail-Adresse zu einem Konto auf dem Matrix-Server {serverName} hinzufügen.',
    registerEffect:
      'Wenn Sie es waren, öffnen Sie innerhalb von {minutes} Minuten diesen Link und bestätigen Sie dort; dann kann das Konto angelegt werden:',
    passwordEffect:
      'Wenn Sie es waren, öffnen Sie innerhalb von {minutes} Minuten diesen Link und bestätigen Sie dort; dann kann ein neues Passwort festlegen, wer danach gefragt hat:',
    addEffect:
      'Wenn Sie es waren, öffnen Sie innerhalb von {minutes} Minuten diesen Link und bestätigen Sie dort; dann kann die Adresse hinzugefügt werden:',
    ignore:
      'Wenn Sie es nicht waren, tun Sie nichts: Ohne den Link geschieht nichts. Geben Sie ihn nicht weiter.',
    noAccountSubject: 'Kein Konto mit dieser Adresse ({serverName})',
    noAccount:
      'Kein Konto dort hat diese Adresse. Wenn Sie es waren, versuchen Sie es mit einer anderen Ihrer Adressen oder fragen Sie die Administration des Servers.',
    takenSubject: 'Diese Adresse gehört zu einem Konto ({serverName})',
    taken:
      'Ein Konto dort hat diese Adresse aber schon. Wenn es Ihres ist, melden Sie sich an; wenn Sie das Passwort vergessen haben, legen Sie mit dieser Adresse ein neues fest.',
    doNothing: 'Wenn Sie es nicht waren, tun Sie nichts.',
  },
  unread: {
    subject: 'Ungelesene Nachrichten ({serverName})',
    intro: 'Auf dem Matrix-Server {serverName} gibt es ungelesene Nachrichten für {userId}.',
    encrypted: 'Verschlüsselte Nachricht',
    invitation: 'Sie sind in diesen Raum eingeladen.',
    other: 'Etwas Neues',
    unnamedRoom: 'Ein Raum ohne Namen',
    count: 'Ungelesen: {count}',
    more: 'und weitere',
    open: 'Raum öffnen',
    unsubscribe: 'Keine solchen E-Mails mehr',
  },
  unsubscribe: {
    title: 'Keine E-Mails mehr von {serverName}',
    asks: '{address} bekommt dann keine E-Mails über ungelesene Nachrichten für {userId} mehr.',
    stop: 'Keine E-Mails mehr senden',
    done: 'Es werden keine E-Mails mehr gesendet',
    isDone:
      'In den Einstellungen eines Matrix-Clients lassen sie sich wieder einschalten. Diese Seite kann geschlossen werden.',
    invalid: 'Dieser Link ist nicht gültig.',
  },
  ...accountDe,
  oauth: oauthDe,
  providers: providersDe,
};
