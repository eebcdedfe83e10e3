/** What our pages and letters say in French. */

import { accountFr } from './account-fr.ts';
import { oauthFr } from './oauth-fr.ts';
import { providersFr } from './providers-fr.ts';
import type { Texts } from './texts.ts';

export const fr: Texts = {
  page: {
    language: 'Langue',
    problem: 'Veuillez vérifier ceci',
    confirm: 'Confirmer',
    continue: 'Continuer',
    cancel: 'Annuler',
    back: 'Retour',
    canBeClosed: 'Continuez dans votre client Matrix : cette page peut être fermée.',
    tooMany: 'Trop de tentatives : attendez {seconds} secondes, puis réessayez.',
    expired:
      'Cette page est restée ouverte trop longtemps ou a été envoyée depuis ailleurs. Veuillez réessayer.',
    failed: 'Cela n’a pas été possible. Veuillez réessayer.',
  },
  fields: {
    userName: 'Nom d’utilisateur',
    password: 'Mot de passe',
    passwordAgain: 'Répéter le mot de passe',
    email: 'Adresse électronique',
    registrationToken: 'Code d’inscription',
  },
  passwords: {
    empty: 'Le mot de passe est vide.',
    tooLong: 'Le mot de passe est trop long.',
    tooShort: 'Le mot de passe est trop court : utilisez au moins {least} caractères.',
    differ: 'Les deux mots de passe sont différents.',
  },
  root: {
    what: 'Ceci est un serveur Matrix qui utilise Kurir. Les noms de ses utilisateurs se terminent par {ending}.',
    signIn: 'Se connecter',
    how: 'Ouvrez un client Matrix, comme Element ({address} ou Element Desktop), choisissez un autre serveur d’accueil que celui qui est proposé, et saisissez :',
    closed: 'Les comptes sont créés par l’administration de ce serveur.',
    token:
      'Pour créer un compte, il vous faut un code d’inscription ou un lien de l’administration de ce serveur.',
    open: 'Tout le monde peut créer un compte, dans un client ou sur la page {path}.',
    account: 'Votre compte : appareils, mot de passe et plus',
  },
  registration: {
    title: 'Nouveau compte sur {serverName}',
    none: 'Pas de nouveau compte',
    userName: 'Nom d’utilisateur (devient @nom:{serverName})',
    create: 'Créer le compte',
    closed: 'Les inscriptions sont fermées sur ce serveur.',
    needsEmail:
      'Les comptes ont besoin ici d’une adresse électronique confirmée : inscrivez-vous dans un client Matrix, avec le code {token}',
    tooMany: 'Trop de tentatives : attendez une minute, puis rechargez la page.',
    badLink:
      'Ce lien n’est pas valide : il a déjà été utilisé ou il est trop ancien. L’administration de ce serveur peut créer des comptes avec la commande : npm run kurir -- user add NOM',
    usedLink: 'Ce lien a été utilisé entre-temps.',
    badName: 'Un nom d’utilisateur se compose de minuscules a-z, de chiffres et des caractères . _ = - / +',
    taken: 'Le nom {name} est déjà pris.',
    mustAccept: 'Acceptez les conditions pour avoir un compte.',
    welcome: 'Bienvenue',
    account: 'Votre compte est {userId}.',
    next: 'Ouvrez maintenant un client Matrix, comme Element ({address} ou Element Desktop), choisissez un autre serveur d’accueil que celui qui est proposé, saisissez {server} et connectez-vous avec votre nom d’utilisateur et votre mot de passe.',
  },
  terms: {
    accept: 'J’ai lu ces conditions et je les accepte',
    title: 'Conditions de {serverName}',
    asks: 'Veuillez lire ces conditions. Sans les accepter, {userId} peut lire sur ce serveur, mais pas écrire.',
    accepted: 'Conditions acceptées',
    changed: 'Les conditions ont changé entre-temps. Veuillez les relire.',
    none: 'Rien à accepter',
    invalid: 'Ce lien n’est pas valable. Ouvrez celui que votre client Matrix affiche.',
    notice: 'Veuillez lire les conditions de {serverName} et les accepter sur cette page : {url}',
  },
  stages: {
    title: 'Confirmer pour {serverName}',
    send: 'Envoyer le courriel',
    sent: 'Un courriel est en route. Ouvrez le lien qu’il contient, confirmez-y, puis continuez ici.',
    done: 'Confirmé',
    isDone: 'Terminé. Continuez dans votre client Matrix : cette page peut être fermée.',
    nothing: 'Rien à confirmer',
    unknown:
      'Cette page ne correspond à rien en cours : cela a peut-être pris trop de temps. Recommencez dans votre client Matrix.',
    mustAccept: 'Acceptez les conditions pour continuer.',
    wrongPassword: 'Le mot de passe n’est pas correct.',
    wrongToken: 'Le code d’inscription n’est pas valide.',
    notConfirmed: 'L’adresse n’est pas encore confirmée : ouvrez d’abord le lien du courriel.',
    emailTaken: 'Cette adresse appartient déjà à un compte.',
    emailRefused: 'Cette adresse ne peut pas être utilisée ici.',
    noLetter: 'Le courriel n’a pas pu être envoyé : réessayez plus tard.',
  },
  emailPage: {
    title: 'Adresse électronique pour {serverName}',
    register: 'Quelqu’un veut créer un compte avec l’adresse électronique à laquelle le lien a été envoyé.',
    password:
      'Quelqu’un veut définir un nouveau mot de passe pour le compte qui a l’adresse électronique à laquelle le lien a été envoyé. Si ce n’était pas vous, fermez cette page.',
    add: 'Quelqu’un veut ajouter à son compte l’adresse électronique à laquelle le lien a été envoyé.',
    confirmed: 'Confirmé',
    isConfirmed:
      'L’adresse est confirmée. Continuez là où vous avez commencé, dans votre client Matrix ou votre navigateur : cette page peut être fermée.',
    notConfirmed: 'Non confirmé',
    invalid:
      'Ce lien n’est pas valide : il est trop ancien, un courriel plus récent a été envoyé, ou il a déjà été utilisé. Demandez un autre courriel.',
  },
  loginFallback: {
    title: 'Se connecter à {serverName}',
    needsScript: 'Cette page a besoin de JavaScript pour dire à votre client Matrix que vous êtes connecté.',
    done: 'Vous êtes connecté. Continuez dans votre client Matrix : cette page peut être fermée.',
    signIn: 'Se connecter',
  },
  letters: {
    confirmSubject: 'Confirmez votre adresse électronique ({serverName})',
    passwordSubject: 'Définir un nouveau mot de passe ({serverName})',
    registerAsks:
      'Quelqu’un veut créer un compte avec cette adresse électronique sur le serveur Matrix {serverName}.',
    passwordAsks:
      'Quelqu’un veut définir un nouveau mot de passe pour le compte qui a cette adresse électronique sur le serveur Matrix {serverName}.',
    addAsks:
      'Quelqu’un veut ajouter cette adresse électronique à un compte sur le serveur Matrix {serverName}.',
    registerEffect:
      'Si c’était vous, ouvrez ce lien dans les {minutes} minutes et confirmez-y ; le compte pourra alors être créé :',
    passwordEffect:
      'Si c’était vous, ouvrez ce lien dans les {minutes} minutes et confirmez-y ; la personne qui l’a demandé pourra alors définir un nouveau mot de passe :',
    addEffect:
      'Si c’était vous, ouvrez ce lien dans les {minutes} minutes et confirmez-y ; l’adresse pourra alors être ajoutée :',
    ignore: 'Si ce n’était pas vous, ne faites rien : rien ne se passe sans le lien. Ne le transmettez pas.',
    noAccountSubject: 'Aucun compte avec cette adresse ({serverName})',
    noAccount:
      'Aucun compte n’y a cette adresse. Si c’était vous, essayez une autre de vos adresses ou adressez-vous à l’administration du serveur.',
    takenSubject: 'Cette adresse appartient à un compte ({serverName})',
    taken:
      'Mais un compte y a déjà cette adresse. S’il est à vous, connectez-vous ; si vous avez oublié le mot de passe, définissez-en un nouveau grâce à cette adresse.',
    doNothing: 'Si ce n’était pas vous, ne faites rien.',
  },
  unread: {
    subject: 'Messages non lus ({serverName})',
    intro: 'Il y a des messages non lus pour {userId} sur le serveur Matrix {serverName}.',
    encrypted: 'Message chiffré',
    invitation: 'Vous êtes invité dans ce salon.',
    other: 'Du nouveau',
    unnamedRoom: 'Un salon sans nom',
    count: 'Non lus : {count}',
    more: 'et d’autres',
    open: 'Ouvrir le salon',
    unsubscribe: 'Ne plus recevoir ces courriels',
  },
  unsubscribe: {
    title: 'Plus de courriels de {serverName}',
    asks: '{address} ne recevra alors plus de courriels sur les messages non lus pour {userId}.',
    stop: 'Ne plus envoyer de courriels',
    done: 'Plus aucun courriel ne sera envoyé',
    isDone: 'Ils peuvent être réactivés dans les paramètres d’un client Matrix. Cette page peut être fermée.',
    invalid: 'Ce lien n’est pas valide.',
  },
  ...accountFr,
  oauth: oauthFr,
  providers: providersFr,
};
