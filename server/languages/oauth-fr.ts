/** What the pages of OAuth 2.0 say in French. */

import type { Texts } from './texts.ts';

export const oauthFr: Texts['oauth'] = {
  consent: {
    title: 'Se connecter à {client} ?',
    asks: '{client} ({host}) souhaite utiliser votre compte {userId} sur ce serveur.',
    can: 'Ce programme pourra lire et envoyer des messages en votre nom, et modifier vos salons et votre profil, jusqu’à ce que vous le déconnectiez.',
    leadsTo: 'Vous continuerez ensuite vers {target}.',
    onlyIf: 'N’autorisez cela que si vous venez vous-même de commencer à vous y connecter.',
    replaces: 'Il prend la place d’un appareil sur lequel vous êtes déjà connecté ({deviceId}).',
    allow: 'Autoriser',
    deny: 'Ne pas autoriser',
    other: 'Utiliser un autre compte',
    tos: 'Conditions d’utilisation de {client}',
    policy: 'Politique de confidentialité de {client}',
  },
  problem: {
    title: 'La connexion est impossible',
    unknownClient:
      'Le programme qui vous a envoyé ici n’est pas connu de ce serveur. Retournez-y et recommencez la connexion.',
    badRedirect:
      'Le programme qui vous a envoyé ici veut vous diriger vers une adresse qu’il n’a pas enregistrée. Rien n’y a été envoyé.',
    tooLong: 'La demande du programme qui vous a envoyé ici est trop longue.',
    badRequest: 'La demande du programme qui vous a envoyé ici n’est pas correcte : {problem}.',
    goBack: 'Retour à {target}',
    tooMany: 'Trop de tentatives : attendez quelques minutes, puis réessayez.',
  },
  device: {
    title: 'Connecter un autre appareil',
    code: 'Code',
    codeHint: 'Saisissez le code affiché par l’autre appareil.',
    wrongCode: 'Ce code n’existe pas ou est trop ancien. Vérifiez-le, ou recommencez sur l’autre appareil.',
    confirmTitle: 'Connecter l’autre appareil ?',
    compare: 'L’autre appareil doit afficher ce code :',
    asks: '{client} ({host}) sur un autre appareil souhaite utiliser votre compte {userId} sur ce serveur.',
    from: 'La demande est venue de l’adresse {address}.',
    onlyIf:
      'N’autorisez cela que si vous venez vous-même de commencer à vous connecter sur cet appareil et que vous l’avez devant vous. Jamais parce que quelqu’un vous a envoyé le code ou un lien.',
    allow: 'Les codes sont identiques : autoriser',
    done: 'L’autre appareil est connecté',
    isDone: 'Continuez là-bas. Cette page peut être fermée.',
    denied: 'L’autre appareil n’est pas connecté',
    isDenied: 'Rien n’a été autorisé. Cette page peut être fermée.',
  },
};
