-- For the cleaning up of transactions that no client repeats any more, and for who asks whose devices changed.
CREATE INDEX client_transactions_by_time ON client_transactions (created_ts);
CREATE INDEX device_lists_by_position ON device_lists (position);
