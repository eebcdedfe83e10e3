-- One row for each pair of event type and state key ever seen.
CREATE TABLE state_keys (
  state_key_nid {id},
  type {text} NOT NULL,
  state_key {text} NOT NULL,
  UNIQUE (type, state_key)
) {strict};

-- Nodes of the persistent tries that hold room states (see state-trie.ts). Never changed once written; a state
-- group is the node_nid of a root.
CREATE TABLE state_nodes (
  node_nid {id},
  bytes {bytes} NOT NULL
) {strict};
