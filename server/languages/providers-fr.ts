/** What the pages of signing in by others say in French. */

import type { Texts } from './texts.ts';

export const providersFr: Texts['providers'] = {
  notSignedIn: 'Non connecté',
  tryAgain: 'Réessayer',
  notAllowed: 'Votre compte chez le fournisseur d’identité ne peut pas être utilisé ici.',
  noAccount: 'Vous n’avez pas de compte sur ce serveur. L’administrateur peut vous en associer un.',
  deactivated: 'Votre compte sur ce serveur a été fermé.',
  locked: 'Votre compte sur ce serveur a été verrouillé.',
  unknownProvider:
    'Ce serveur ne connaît pas ce fournisseur d’identité. Recommencez dans votre client Matrix.',
  notBegun: 'Cette connexion n’a pas été commencée dans ce navigateur, ou elle a duré trop longtemps.',
  tooMany: 'Trop de tentatives : attendez une minute, puis réessayez.',
  unreachable:
    '{provider} ne répond pas comme il le devrait en ce moment. Les personnes déjà connectées le restent.',
  refused: '{provider} ne vous a pas connecté.',
  invalid: 'La réponse de {provider} n’est pas ce que ce serveur a demandé.',
  fromElsewhere: 'Le formulaire a été envoyé depuis un autre site.',
  firstTime:
    'Vous vous connectez ici pour la première fois. Choisissez le nom de votre compte : il ne pourra jamais être changé.',
  nameTaken:
    'Le nom {name} est pris : choisissez-en un autre. S’il est à vous, l’administrateur peut vous l’associer.',
  nobody: 'Personne n’est en train d’obtenir un compte dans ce navigateur, ou cela a duré trop longtemps.',
  confirmTitle: 'Confirmer pour {serverName}',
  proveAgain: 'Pour continuer, prouvez de nouveau qui vous êtes :',
  confirmAsks: 'Un client Matrix demande à faire ceci avec votre compte :',
  confirmWarns:
    'Si vous ne vous y attendiez pas, quelqu’un d’autre utilise peut-être votre compte : ne continuez pas, et prévenez votre administrateur.',
  notConfirmed: 'Non confirmé',
  otherUser: 'Vous vous êtes connecté comme {userId}, mais ceci doit être confirmé par {owner}.',
  confirmOver: 'Ce qui devait être confirmé n’attend plus. Recommencez dans votre client Matrix.',
  clientTitle: 'Se connecter à {client}',
  yourClient: 'votre client',
  clientWebsite:
    'Vous êtes {userId}. Si vous continuez, le site {client} pourra utiliser votre compte sur {serverName} : lire vos messages et écrire en votre nom.',
  clientProgram:
    'Vous êtes {userId}. Si vous continuez, le programme qui ouvre les adresses {client} pourra utiliser votre compte sur {serverName} : lire vos messages et écrire en votre nom.',
  clientWarns: 'Ne continuez que si vous venez vous-même de commencer à vous y connecter.',
};
