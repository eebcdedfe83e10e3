/** What `--help` says of the commands about other servers. */

export const partnerUsage = {
  'federation check': `federation check SERVER

Goes the way to SERVER step by step, as it would deliver to it: its name, where it leads, the certificate, the key, the
clock, whether it takes our signature; and looks at this server as the other one must. Says what is wrong with either,
and who is to do what. Works while the server runs and while it does not; a running one also knows who has called. Exits
with 1 where something is wrong.`,
  'federation status': `federation status [SERVER]

Says for each server that events are sent to whether it has them all, how many wait and since when, and why it does not
take them: its certificate, its clock, its name, its answer. With SERVER it says what to do about it, when the next
attempt is, and which events the server refused for what reason. Reads only, and works while the server runs.`,
  'room circle': `room circle ROOM CIRCLE | ROOM --none

Binds ROOM (a room id, or an alias of this server) to CIRCLE: from now on the server keeps its access control list
(m.room.server_acl), by which only the servers of the circle and this one take part in it. The list is sent by a user of
this server who may, now and whenever the circle changes.

  --none  lets the room go; its list stays as it is`,
  'policy show': `policy show

Shows what this server refuses as a policy server (policy_server), and the state by which a room has it for one.`,
  'policy test': `policy test FILE

Says whether the server would sign the event in FILE, as JSON (clients show it as the source of a message). Exits with 1
where it would not.`,
  'partner list': `partner list

Lists the partners: name, direction, profile, what is pinned, and the note. The first line says whether other servers
are talked to at all (federation_inbound, federation_outbound).`,
  'partner show': `partner show SERVER

Says of SERVER, partner or not, whether it may call this server and be called, what is agreed with it, and what it can
do: room versions, encryption, join rules.`,
  'partner add': `partner add SERVER [--direction both|inbound|outbound] [--profile PROFILE]
                   [--key ed25519:ID=BASE64]... [--ca FILE] [--note TEXT]

Makes SERVER (example.org, or *.example.org for all under it) a partner, at once, whether the server runs or not.

  --direction  who may call whom, where only partners may: both (the default), inbound (it may call us), outbound
  --profile    kurir, synapse, rocketchat or strict; without it the partner is asked what it is
  --key        a signing key; only those that are given are accepted of it
  --ca         a PEM file with the only authorities that are trusted for it
  --note       a word for you`,
  'partner set': `partner set SERVER [--direction both|inbound|outbound] [--profile PROFILE|auto]
                   [--key ed25519:ID=BASE64 | none]... [--ca FILE|none] [--note TEXT]

Changes what is agreed with the partner SERVER, at once; what is not named stays. Keys that are given take the place of
those that were pinned. Partners of the configuration file are changed there.`,
  'partner remove': `partner remove SERVER

Ends the partnership with SERVER at once. Rooms with its users stay; with federation_outbound set to "partners" nothing
is sent to it any more.`,
  'circle list': `circle list

Lists the circles, with their servers.`,
  'circle create': `circle create NAME SERVER...

Makes the circle NAME of these servers (example.org, or *.example.org). Rooms are bound to it by "room circle".`,
  'circle add': `circle add NAME SERVER...

Takes servers into the circle NAME, and into the access control lists of its rooms.`,
  'circle remove': `circle remove NAME SERVER...

Takes servers out of the circle NAME, and out of the access control lists of its rooms.`,
  'federation resend': `federation resend SERVER

Sends to SERVER again what was set aside for it: an event, or another message, that it called malformed time after time is
not sent any more, so that what comes after it does not wait for ever. For when SERVER has mended that. Works by the
running server, or else when the server starts.`,
} as const;
