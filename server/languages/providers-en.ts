/** What the pages of signing in by others say in English. */

export const providersEn = {
  notSignedIn: 'Not signed in',
  tryAgain: 'Try again',
  notAllowed: 'Your account at the identity provider may not be used here.',
  noAccount: 'You have no account on this server. The administrator can link one to you.',
  deactivated: 'Your account on this server has been deactivated.',
  locked: 'Your account on this server has been locked.',
  unknownProvider: 'This server knows no such identity provider. Begin again in your Matrix client.',
  notBegun: 'This sign-in was not begun in this browser, or it took too long.',
  tooMany: 'Too many attempts: wait a minute, then try again.',
  unreachable: '{provider} does not answer as it should just now. Who is signed in already stays so.',
  refused: '{provider} did not sign you in.',
  invalid: 'What came back from {provider} is not what this server asked for.',
  fromElsewhere: 'The form was sent from another site.',
  firstTime: 'You sign in here for the first time. Choose the name of your account: it can never be changed.',
  nameTaken:
    'The name {name} is taken: choose another one. If it is yours, the administrator can link it to you.',
  nobody: 'Nobody is about to get an account in this browser, or it took too long.',
  confirmTitle: 'Confirm for {serverName}',
  proveAgain: 'To go on, prove again who you are:',
  confirmAsks: 'A Matrix client asks to do this with your account:',
  confirmWarns:
    'If you did not expect this, somebody else may be using your account: then do not go on, and tell your administrator.',
  notConfirmed: 'Not confirmed',
  otherUser: 'You have signed in as {userId}, but this is to be confirmed by {owner}.',
  confirmOver: 'What was to be confirmed is not waiting any more. Begin again in your Matrix client.',
  clientTitle: 'Sign in to {client}',
  yourClient: 'your client',
  clientWebsite:
    'You are {userId}. If you go on, the website {client} can use your account on {serverName}: read your messages and write in your name.',
  clientProgram:
    'You are {userId}. If you go on, the program that opens {client} addresses can use your account on {serverName}: read your messages and write in your name.',
  clientWarns: 'Go on only if you have just begun to sign in there yourself.',
};
