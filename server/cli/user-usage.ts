/** What `--help` says of the commands about accounts, and about who signs people in. */

export const userUsage = {
  'user add': `user add NAME [--password-stdin | --password PASSWORD] [--admin]

Makes an account NAME (alice, or @alice:example.org), whether the server runs or not.

  --password-stdin     reads the password from standard input
  --password PASSWORD  takes it from the command line, where other users of this machine may see it
  --admin              makes the account an administrator

Without either a password is made up and printed.`,
  'user list': `user list

Lists all accounts: user id, day of creation, and whether it is an administrator or deactivated.`,
  'user terms': `user terms NAME

Lists the policies that NAME has accepted: id, version, and when.`,
  'user deactivate': `user deactivate NAME [--erase]

Ends the account NAME for good: it is signed out everywhere, leaves all rooms, and its name stays taken.

  --erase  shows nothing of what it wrote to those who come into a room later; who was there before keeps it`,
  'user lock': `user lock NAME

Locks the account NAME, until it is unlocked: whoever uses it is told so, and can do nothing but sign out. Devices stay
signed in, with their keys.`,
  'user unlock': `user unlock NAME

Gives the account NAME back after "user lock".`,
  'user suspend': `user suspend NAME

Suspends the account NAME, until that is ended: it reads what it could read, leaves rooms, takes back what it wrote, and
ends its sessions, but writes nothing, joins nothing and invites nobody.`,
  'user unsuspend': `user unsuspend NAME

Gives the account NAME back after "user suspend".`,
  'user remove-second-factor': `user remove-second-factor NAME

Removes the app with codes, the passkeys and the recovery codes of the account NAME, for somebody who has lost them and of
whom you know that it is them: after that the password alone signs in, or they set up others.`,
  'user rate-limit': `user rate-limit NAME on|off

With "off" the limits of how often users may do things do not hold for NAME, as for a program that sends much; with "on"
they do again. How often somebody may sign in to the account stays limited.`,
  'user link': `user link NAME [PROVIDER ID] [--sub SUB]

Lets the person with the permanent id ID at PROVIDER (its id in the configuration, or ldap) sign in to the account NAME.
Without PROVIDER it lists by whom NAME signs in. The permanent id is the claim sub, or what subject_claims says, several
as JSON: '["tenant","object"]'; of a directory it is the value of id_attribute.

  --sub SUB  what the provider calls the person in logout tokens, where that is not ID`,
  'user unlink': `user unlink NAME PROVIDER ID

Ends what "user link" or a first sign-in has made. Devices stay signed in.`,
  'provider list': `provider list

Lists the identity providers of the configuration, the directory and the authentication service.`,
  'provider check': `provider check [PROVIDER]

Asks the identity providers, or the one of that id (ldap for the directory), what they say of themselves, and looks at
their keys and their clock. Says what to register there.`,
  'token new': `token new [--uses N|any] [--expires WHEN|never] [--note TEXT]

Makes a token by which people register where registration is "token", and prints it, with the link of the page where
public_baseurl is set. It is kept as a hash, and cannot be shown again.

  --uses     how many accounts it admits; 1 unless given
  --expires  when it ends: a time from now on (7d, 12h), a day (2030-01-31) or a time (2030-01-31T12:00Z); 7d unless
             given
  --note     a word for you`,
  'token list': `token list

Lists the tokens that admit somebody: an id, how many accounts they admit yet, how often they were used, when they end,
and the note.`,
  'token revoke': `token revoke TOKEN

Ends a token, given by itself or by its id in "token list". Accounts that it admitted stay.`,
} as const;
