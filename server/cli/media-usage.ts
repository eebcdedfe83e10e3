/** What `--help` says of the commands about media. */

export const mediaUsage = {
  'media quarantine': `media quarantine MXC

Withholds a media, given by its address (mxc://example.org/abc), from users of this server and from other servers. The
same file is withheld under any other address too, also one that it gets later. It stays where it is stored. One of
another server may be withheld before anybody has seen it.`,
  'media release': `media release MXC

Serves a media again after "media quarantine", or after the scanner for malware has found something in it. Then the same
file is served whatever the scanner says of it later.`,
  'media scanning': `media scanning

Says whether the scanner for malware answers, which signatures it knows, and how many files are clean, infected, or allowed
by "media release". Exits with 1 where it does not answer.`,
  'media rescan': `media rescan [MXC]

Has one media scanned now; or all files that were not scanned with the signatures of today, the infected ones among them.
What is infected goes into quarantine. What was infected and is clean now stays there until "media release".`,
  'media protect': `media protect MXC

Keeps a media for good: neither the options that delete old files nor "media purge-remote" delete it.`,
  'media unprotect': `media unprotect MXC

Ends what "media protect" has made.`,
  'media delete': `media delete MXC

Deletes a media, with its thumbnails, for good. The file goes with the last address that it has. One of another server is
fetched again when somebody asks for it: "media quarantine" keeps it away.`,
  'media move': `media move disk|bucket

Moves all files from the disk to the bucket of media_bucket, or from there to the disk. Users read and upload meanwhile.
Each file is whole in the new place before it goes in the old one: where this ends early, run it again.`,
  'media purge-remote': `media purge-remote --before WHEN

Deletes the files of other servers that nobody here has read since WHEN, which is a day (2026-01-31) or a time
(2026-01-31T12:00Z). They are fetched again when somebody asks for them, where their server still has them.`,
} as const;
