/** What the pages of OAuth 2.0 say in Swedish. */

import type { Texts } from './texts.ts';

export const oauthSv: Texts['oauth'] = {
  consent: {
    title: 'Logga in i {client}?',
    asks: '{client} ({host}) vill använda ditt konto {userId} på den här servern.',
    can: 'Programmet kommer att kunna läsa och skicka meddelanden som du, och ändra dina rum och din profil, tills du loggar ut det.',
    leadsTo: 'Efter detta går du vidare till {target}.',
    onlyIf: 'Tillåt det bara om du själv nyss har börjat logga in där.',
    replaces: 'Det ersätter en enhet där du redan är inloggad ({deviceId}).',
    allow: 'Tillåt',
    deny: 'Tillåt inte',
    other: 'Använd ett annat konto',
    tos: 'Användarvillkor för {client}',
    policy: 'Integritetspolicy för {client}',
  },
  problem: {
    title: 'Det går inte att logga in',
    unknownClient:
      'Programmet som skickade dig hit är inte känt av den här servern. Gå tillbaka till det och börja logga in på nytt.',
    badRedirect:
      'Programmet som skickade dig hit vill att du går vidare till en adress som det inte har registrerat. Ingenting skickades dit.',
    tooLong: 'Begäran från programmet som skickade dig hit är för lång.',
    badRequest: 'Begäran från programmet som skickade dig hit är inte riktig: {problem}.',
    goBack: 'Tillbaka till {target}',
    tooMany: 'För många försök: vänta några minuter och försök igen.',
  },
  device: {
    title: 'Logga in på en annan enhet',
    code: 'Kod',
    codeHint: 'Skriv koden som den andra enheten visar.',
    wrongCode:
      'Det finns ingen sådan kod, eller så är den för gammal. Kontrollera den, eller börja om på den andra enheten.',
    confirmTitle: 'Logga in den andra enheten?',
    compare: 'Den andra enheten måste visa den här koden:',
    asks: '{client} ({host}) på en annan enhet vill använda ditt konto {userId} på den här servern.',
    from: 'Begäran kom från adressen {address}.',
    onlyIf:
      'Tillåt det bara om du själv nyss har börjat logga in på den enheten och har den framför dig. Aldrig för att någon har skickat dig koden eller en länk.',
    allow: 'Koderna är lika: tillåt',
    done: 'Den andra enheten är inloggad',
    isDone: 'Fortsätt där. Den här sidan kan stängas.',
    denied: 'Den andra enheten är inte inloggad',
    isDenied: 'Ingenting tilläts. Den här sidan kan stängas.',
  },
};
