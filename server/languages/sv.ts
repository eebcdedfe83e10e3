/** What our pages and letters say in Swedish. */

import { accountSv } from './account-sv.ts';
import { oauthSv } from './oauth-sv.ts';
import { providersSv } from './providers-sv.ts';
import type { Texts } from './texts.ts';

export const sv: Texts = {
  page: {
    language: 'Språk',
    problem: 'Kontrollera detta',
    confirm: 'Bekräfta',
    continue: 'Fortsätt',
    cancel: 'Avbryt',
    back: 'Tillbaka',
    canBeClosed: 'Fortsätt i din Matrix-klient: den här sidan kan stängas.',
    tooMany: 'För många försök: vänta {seconds} sekunder och försök sedan igen.',
    expired: 'Sidan var öppen för länge eller skickades från ett annat ställe. Försök igen.',
    failed: 'Det gick inte. Försök igen.',
  },
  fields: {
    userName: 'Användarnamn',
    password: 'Lösenord',
    passwordAgain: 'Lösenordet igen',
    email: 'E-postadress',
    registrationToken: 'Registreringskod',
  },
  passwords: {
    empty: 'Lösenordet är tomt.',
    tooLong: 'Lösenordet är för långt.',
    tooShort: 'Lösenordet är för kort: använd minst {least} tecken.',
    differ: 'De två lösenorden är olika.',
  },
  root: {
    what: 'Det här är en Matrix-server som kör Kurir. Namnen på dess användare slutar på {ending}.',
    signIn: 'Logga in',
    how: 'Öppna en Matrix-klient, till exempel Element ({address} eller Element Desktop), välj en annan hemserver än den som föreslås och ange:',
    closed: 'Konton skapas av serverns administratör.',
    token:
      'För att skapa ett konto behöver du en registreringskod eller en länk från serverns administratör.',
    open: 'Vem som helst kan skapa ett konto, i en klient eller på sidan {path}.',
    account: 'Ditt konto: enheter, lösenord med mera',
  },
  registration: {
    title: 'Nytt konto på {serverName}',
    none: 'Inget nytt konto',
    userName: 'Användarnamn (blir @namn:{serverName})',
    create: 'Skapa konto',
    closed: 'Det går inte att registrera sig på den här servern.',
    needsEmail:
      'Konton här behöver en bekräftad e-postadress: registrera dig i en Matrix-klient, med koden {token}',
    tooMany: 'För många försök: vänta en minut och ladda sedan om sidan.',
    badLink:
      'Länken är inte giltig: den är redan använd eller för gammal. Serverns administratör kan skapa konton med kommandot: npm run kurir -- user add NAMN',
    usedLink: 'Länken har använts under tiden.',
    badName: 'Ett användarnamn består av små bokstäver a-z, siffror och tecknen . _ = - / +',
    taken: 'Namnet {name} är upptaget.',
    mustAccept: 'Godkänn villkoren för att få ett konto.',
    welcome: 'Välkommen',
    account: 'Ditt konto är {userId}.',
    next: 'Öppna nu en Matrix-klient, till exempel Element ({address} eller Element Desktop), välj en annan hemserver än den som föreslås, ange {server} och logga in med ditt användarnamn och lösenord.',
  },
  terms: {
    accept: 'Jag har läst villkoren och godkänner dem',
    title: 'Villkor för {serverName}',
    asks: 'Läs de här villkoren. Utan att godkänna dem kan {userId} läsa på den här servern, men inte skriva.',
    accepted: 'Villkoren är godkända',
    changed: 'Villkoren har ändrats under tiden. Läs dem igen.',
    none: 'Inget att godkänna',
    invalid: 'Länken är inte giltig. Öppna den som din Matrix-klient visar.',
    notice: 'Läs villkoren för {serverName} och godkänn dem på den här sidan: {url}',
  },
  stages: {
    title: 'Bekräfta för {serverName}',
    send: 'Skicka brevet',
    sent: 'Ett e-brev är på väg. Öppna länken i det, bekräfta där och fortsätt sedan här.',
    done: 'Bekräftat',
    isDone: 'Klart. Fortsätt i din Matrix-klient: den här sidan kan stängas.',
    nothing: 'Inget att bekräfta',
    unknown:
      'Sidan hör inte till något som pågår: det kan ha tagit för lång tid. Börja om i din Matrix-klient.',
    mustAccept: 'Godkänn villkoren för att fortsätta.',
    wrongPassword: 'Lösenordet stämmer inte.',
    wrongToken: 'Registreringskoden är inte giltig.',
    notConfirmed: 'Adressen är inte bekräftad än: öppna först länken i brevet.',
    emailTaken: 'Adressen hör redan till ett konto.',
    emailRefused: 'Adressen kan inte användas här.',
    noLetter: 'Brevet kunde inte skickas: försök igen senare.',
  },
  emailPage: {
    title: 'E-postadress för {serverName}',
    register: 'Någon vill skapa ett konto med den e-postadress som länken skickades till.',
    password:
      'Någon vill välja ett nytt lösenord för kontot med den e-postadress som länken skickades till. Om det inte var du, stäng den här sidan.',
    add: 'Någon vill lägga till den e-postadress som länken skickades till i sitt konto.',
    confirmed: 'Bekräftat',
    isConfirmed:
      'Adressen är bekräftad. Fortsätt där du började, i din Matrix-klient eller din webbläsare: den här sidan kan stängas.',
    notConfirmed: 'Inte bekräftat',
    invalid:
      'Länken är inte giltig: den är för gammal, ett nyare brev har skickats eller den är redan använd. Be om ett nytt brev.',
  },
  loginFallback: {
    title: 'Logga in på {serverName}',
    needsScript: 'Sidan behöver JavaScript för att kunna tala om för din Matrix-klient att du har loggat in.',
    done: 'Du är inloggad. Fortsätt i din Matrix-klient: den här sidan kan stängas.',
    signIn: 'Logga in',
  },
  letters: {
    confirmSubject: 'Bekräfta din e-postadress ({serverName})',
    passwordSubject: 'Välj ett nytt lösenord ({serverName})',
    registerAsks: 'Någon vill skapa ett konto med den här e-postadressen på Matrix-servern {serverName}.',
    passwordAsks:
      'Någon vill välja ett nytt lösenord för kontot med den här e-postadressen på Matrix-servern {serverName}.',
    addAsks: 'Någon vill lägga till den här e-postadressen i ett konto på Matrix-servern {serverName}.',
    registerEffect:
      'Om det var du, öppna den här länken inom {minutes} minuter och bekräfta där; sedan kan kontot skapas:',
    passwordEffect:
      'Om det var du, öppna den här länken inom {minutes} minuter och bekräfta där; sedan kan den som bad om det välja ett nytt lösenord:',
    addEffect:
      'Om det var du, öppna den här länken inom {minutes} minuter och bekräfta där; sedan kan adressen läggas till:',
    ignore: 'Om det inte var du, gör ingenting: utan länken händer inget. Ge den inte vidare.',
    noAccountSubject: 'Inget konto med den här adressen ({serverName})',
    noAccount:
      'Inget konto där har den här adressen. Om det var du, prova en annan av dina adresser eller fråga serverns administratör.',
    takenSubject: 'Den här adressen hör till ett konto ({serverName})',
    taken:
      'Men ett konto där har redan den här adressen. Om det är ditt, logga in på det; om du har glömt lösenordet, välj ett nytt med hjälp av den här adressen.',
    doNothing: 'Om det inte var du, gör ingenting.',
  },
  unread: {
    subject: 'Olästa meddelanden ({serverName})',
    intro: 'Det finns olästa meddelanden till {userId} på Matrix-servern {serverName}.',
    encrypted: 'Krypterat meddelande',
    invitation: 'Du är inbjuden till det här rummet.',
    other: 'Något nytt',
    unnamedRoom: 'Ett rum utan namn',
    count: 'Olästa: {count}',
    more: 'med flera',
    open: 'Öppna rummet',
    unsubscribe: 'Inga fler sådana e-brev',
  },
  unsubscribe: {
    title: 'Inga fler e-brev från {serverName}',
    asks: '{address} får då inga fler e-brev om olästa meddelanden till {userId}.',
    stop: 'Skicka inga fler e-brev',
    done: 'Inga fler e-brev skickas',
    isDone: 'De kan slås på igen i inställningarna för en Matrix-klient. Den här sidan kan stängas.',
    invalid: 'Länken är inte giltig.',
  },
  ...accountSv,
  oauth: oauthSv,
  providers: providersSv,
};
