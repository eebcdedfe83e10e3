/** What the pages of signing in by others say in Swedish. */

import type { Texts } from './texts.ts';

export const providersSv: Texts['providers'] = {
  notSignedIn: 'Inte inloggad',
  tryAgain: 'Försök igen',
  notAllowed: 'Ditt konto hos identitetsleverantören får inte användas här.',
  noAccount: 'Du har inget konto på den här servern. Administratören kan koppla ett till dig.',
  deactivated: 'Ditt konto på den här servern har avslutats.',
  locked: 'Ditt konto på den här servern har låsts.',
  unknownProvider: 'Servern känner inte till den identitetsleverantören. Börja om i din Matrix-klient.',
  notBegun: 'Inloggningen påbörjades inte i den här webbläsaren, eller så tog den för lång tid.',
  tooMany: 'För många försök: vänta en minut och försök sedan igen.',
  unreachable: '{provider} svarar inte som den ska just nu. Den som redan är inloggad förblir det.',
  refused: '{provider} loggade inte in dig.',
  invalid: 'Svaret från {provider} är inte det som servern bad om.',
  fromElsewhere: 'Formuläret skickades från en annan webbplats.',
  firstTime: 'Du loggar in här för första gången. Välj namnet på ditt konto: det kan aldrig ändras.',
  nameTaken:
    'Namnet {name} är upptaget: välj ett annat. Om det är ditt kan administratören koppla det till dig.',
  nobody: 'Ingen är på väg att få ett konto i den här webbläsaren, eller så tog det för lång tid.',
  confirmTitle: 'Bekräfta för {serverName}',
  proveAgain: 'För att gå vidare, visa igen vem du är:',
  confirmAsks: 'En Matrix-klient vill göra detta med ditt konto:',
  confirmWarns:
    'Om du inte väntade dig detta kan någon annan använda ditt konto: gå då inte vidare, och berätta det för din administratör.',
  notConfirmed: 'Inte bekräftat',
  otherUser: 'Du har loggat in som {userId}, men detta ska bekräftas av {owner}.',
  confirmOver: 'Det som skulle bekräftas väntar inte längre. Börja om i din Matrix-klient.',
  clientTitle: 'Logga in i {client}',
  yourClient: 'din klient',
  clientWebsite:
    'Du är {userId}. Om du går vidare kan webbplatsen {client} använda ditt konto på {serverName}: läsa dina meddelanden och skriva i ditt namn.',
  clientProgram:
    'Du är {userId}. Om du går vidare kan programmet som öppnar adresser av typen {client} använda ditt konto på {serverName}: läsa dina meddelanden och skriva i ditt namn.',
  clientWarns: 'Gå vidare bara om du själv just har börjat logga in där.',
};
