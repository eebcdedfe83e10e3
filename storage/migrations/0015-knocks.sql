-- invites holds the knocks of our users on rooms that the server is not in, too. via: the server that the invitation
-- came from, or that took the knock; NULL for what was written before.
ALTER TABLE invites ADD COLUMN via {text};
