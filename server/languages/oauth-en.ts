/** What the pages of OAuth 2.0 say in English. */

export const oauthEn = {
  consent: {
    title: 'Sign in to {client}?',
    asks: '{client} ({host}) wants to use your account {userId} on this server.',
    can: 'It will be able to read and send messages as you, and to change your rooms and your profile, until you sign it out.',
    leadsTo: 'After this you go on to {target}.',
    onlyIf: 'Allow this only if you have just begun to sign in there yourself.',
    replaces: 'It takes the place of a device on which you are signed in already ({deviceId}).',
    allow: 'Allow',
    deny: 'Do not allow',
    other: 'Use another account',
    tos: 'Terms of service of {client}',
    policy: 'Privacy policy of {client}',
  },
  problem: {
    title: 'Signing in is not possible',
    unknownClient:
      'The program that sent you here is not known to this server. Go back to it, and begin to sign in again.',
    badRedirect:
      'The program that sent you here wants you to go on to an address that it has not registered. Nothing was sent there.',
    tooLong: 'The request of the program that sent you here is too long.',
    badRequest: 'The request of the program that sent you here is not right: {problem}.',
    goBack: 'Back to {target}',
    tooMany: 'Too many attempts: wait a few minutes, then try again.',
  },
  device: {
    title: 'Sign in on another device',
    code: 'Code',
    codeHint: 'Enter the code that the other device shows.',
    wrongCode: 'There is no such code, or it is too old. Check it, or begin again on the other device.',
    confirmTitle: 'Sign in the other device?',
    compare: 'The other device must show this code:',
    asks: '{client} ({host}) on another device wants to use your account {userId} on this server.',
    from: 'It asked from the address {address}.',
    onlyIf:
      'Allow this only if you have just begun to sign in on that device yourself, and have it before you. Never because somebody has sent you the code or a link.',
    allow: 'The codes are the same: allow',
    done: 'The other device is signed in',
    isDone: 'Go on there. This page can be closed.',
    denied: 'The other device is not signed in',
    isDenied: 'Nothing was allowed. This page can be closed.',
  },
} as const;
