/** What our pages and letters say in English. The texts in other languages have the same keys and the same {words}. */

import { accountEn } from './account-en.ts';
import { oauthEn } from './oauth-en.ts';
import { providersEn } from './providers-en.ts';

export const en = {
  page: {
    language: 'Language',
    problem: 'Please check this',
    confirm: 'Confirm',
    continue: 'Continue',
    cancel: 'Cancel',
    back: 'Back',
    canBeClosed: 'Go on in your Matrix client: this page can be closed.',
    tooMany: 'Too many attempts: wait {seconds} seconds, then try again.',
    expired: 'This page was open for too long, or was sent from elsewhere. Please try again.',
    failed: 'This could not be done. Please try again.',
  },
  fields: {
    userName: 'User name',
    password: 'Password',
    passwordAgain: 'Password again',
    email: 'E-mail address',
    registrationToken: 'Registration token',
  },
  passwords: {
    empty: 'The password is empty.',
    tooLong: 'The password is too long.',
    tooShort: 'The password is too short: use {least} characters or more.',
    differ: 'The two passwords differ.',
  },
  root: {
    what: 'This is a Matrix server, running Kurir. The names of its users end in {ending}.',
    signIn: 'Sign in',
    how: 'Open a Matrix client, such as Element ({address}, or Element Desktop), choose another homeserver than the one it proposes, and enter:',
    closed: 'Accounts are made by the administrator of this server.',
    token:
      'To make an account you need a registration token or a link from the administrator of this server.',
    open: 'Anybody can make an account, in a client or on the page {path}.',
    account: 'Your account: devices, password and more',
  },
  registration: {
    title: 'New account on {serverName}',
    none: 'No new account',
    userName: 'User name (becomes @name:{serverName})',
    create: 'Create account',
    closed: 'Registration is closed on this server.',
    needsEmail:
      'Accounts need a confirmed e-mail address here: register in a Matrix client, with the token {token}',
    tooMany: 'Too many attempts: wait a minute, then load the page again.',
    badLink:
      'This link is not valid: it was used already, or is too old. The administrator of this server can make accounts with the command: npm run kurir -- user add NAME',
    usedLink: 'This link was used meanwhile.',
    badName: 'A user name consists of lower-case letters a-z, digits and the characters . _ = - / +',
    taken: 'The name {name} is taken.',
    mustAccept: 'Accept the policies to have an account.',
    welcome: 'Welcome',
    account: 'Your account is {userId}.',
    next: 'Now open a Matrix client, such as Element ({address}, or Element Desktop), choose another homeserver than the one it proposes, enter {server}, and sign in with your user name and password.',
  },
  terms: {
    accept: 'I have read these policies and accept them',
    title: 'Policies of {serverName}',
    asks: 'Please read these policies. Without accepting them, {userId} can read on this server, but not write.',
    accepted: 'Policies accepted',
    changed: 'The policies have changed meanwhile. Please read them again.',
    none: 'Nothing to accept',
    invalid: 'This link is not valid. Open the one that your Matrix client shows.',
    notice: 'Please read the policies of {serverName} and accept them on this page: {url}',
  },
  stages: {
    title: 'Confirm for {serverName}',
    send: 'Send the letter',
    sent: 'A letter is on its way. Open the link in it, confirm there, and then go on here.',
    done: 'Confirmed',
    isDone: 'Done. Go on in your Matrix client: this page can be closed.',
    nothing: 'Nothing to confirm',
    unknown:
      'This page belongs to nothing that is under way: it may have taken too long. Begin again in your Matrix client.',
    mustAccept: 'Accept the policies to go on.',
    wrongPassword: 'The password is not right.',
    wrongToken: 'The registration token is not valid.',
    notConfirmed: 'The address is not confirmed yet: open the link in the letter first.',
    emailTaken: 'This address belongs to an account already.',
    emailRefused: 'This address cannot be used here.',
    noLetter: 'The letter could not be sent: try again later.',
  },
  emailPage: {
    title: 'E-mail address for {serverName}',
    register: 'Somebody wants to make an account with the e-mail address to which the link was sent.',
    password:
      'Somebody wants to set a new password for the account with the e-mail address to which the link was sent. If it was not you, close this page.',
    add: 'Somebody wants to add the e-mail address to which the link was sent to their account.',
    confirmed: 'Confirmed',
    isConfirmed:
      'The address is confirmed. Go on where you began, in your Matrix client or your browser: this page can be closed.',
    notConfirmed: 'Not confirmed',
    invalid:
      'This link is not valid: it is too old, or a newer letter was sent, or it was used already. Ask for another letter.',
  },
  loginFallback: {
    title: 'Sign in to {serverName}',
    needsScript: 'This page needs JavaScript, to tell your Matrix client that you have signed in.',
    done: 'You are signed in. Go on in your Matrix client: this page can be closed.',
    signIn: 'Sign in',
  },
  letters: {
    confirmSubject: 'Confirm your e-mail address ({serverName})',
    passwordSubject: 'Set a new password ({serverName})',
    registerAsks:
      'Somebody wants to make an account with this e-mail address on the Matrix server {serverName}.',
    passwordAsks:
      'Somebody wants to set a new password for the account with this e-mail address on the Matrix server {serverName}.',
    addAsks: 'Somebody wants to add this e-mail address to an account on the Matrix server {serverName}.',
    registerEffect:
      'If it was you, open this link within {minutes} minutes, and confirm there; the account can be made then:',
    passwordEffect:
      'If it was you, open this link within {minutes} minutes, and confirm there; whoever asked for it can set a new password then:',
    addEffect:
      'If it was you, open this link within {minutes} minutes, and confirm there; the address can be added then:',
    ignore: 'If it was not you, do nothing: nothing happens without the link. Do not pass it on.',
    noAccountSubject: 'No account with this address ({serverName})',
    noAccount:
      'No account there has this address. If it was you, try another address of yours, or ask the administrator of the server.',
    takenSubject: 'This address belongs to an account ({serverName})',
    taken:
      'But an account there has this address already. If it is yours, sign in to it; if you forgot its password, set a new one by this address.',
    doNothing: 'If it was not you, do nothing.',
  },
  unread: {
    subject: 'Unread messages ({serverName})',
    intro: 'There are unread messages for {userId} on the Matrix server {serverName}.',
    encrypted: 'Encrypted message',
    invitation: 'You are invited to this room.',
    other: 'Something new',
    unnamedRoom: 'A room without a name',
    count: 'Unread: {count}',
    more: 'and more',
    open: 'Open the room',
    unsubscribe: 'No more of these letters',
  },
  unsubscribe: {
    title: 'No more letters from {serverName}',
    asks: '{address} then gets no more letters about unread messages for {userId}.',
    stop: 'Send no more letters',
    done: 'No more letters are sent',
    isDone: 'They can be switched on again in the settings of a Matrix client. This page can be closed.',
    invalid: 'This link is not valid.',
  },
  ...accountEn,
  oauth: oauthEn,
  providers: providersEn,
} as const;
