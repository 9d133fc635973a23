-- The national store on SQLite. Times are microseconds since the Unix epoch. INTEGER PRIMARY KEY is SQLite's own row
-- number, which spares a second index; every other integer is BIGINT.

CREATE TABLE store_identity (
    only_row   BIGINT PRIMARY KEY CHECK (only_row = 1),
    member     TEXT NOT NULL,
    federation BLOB NOT NULL
);

-- Proposals that this member wrote. What partners sent is in `copy`.
CREATE TABLE proposal (
    id         TEXT PRIMARY KEY,
    position   BIGINT NOT NULL UNIQUE,
    state      TEXT NOT NULL CHECK (state IN ('draft', 'shared', 'tabled', 'withdrawn')),
    version    TEXT NOT NULL,
    author     TEXT NOT NULL,
    request_id TEXT,
    ballot     BLOB,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (author, request_id)
);

CREATE TABLE proposal_version (
    record            TEXT NOT NULL REFERENCES proposal (id),
    version           TEXT NOT NULL,
    ordinal           BIGINT NOT NULL,
    document          BLOB NOT NULL,
    discover          BLOB NOT NULL,
    read_view         BLOB NOT NULL,
    read_salt         BLOB NOT NULL,
    read_sources      BLOB NOT NULL,
    read_sources_salt BLOB NOT NULL,
    author            TEXT NOT NULL,
    at                BIGINT NOT NULL,
    PRIMARY KEY (record, version),
    UNIQUE (record, ordinal)
);

CREATE TABLE proposal_share (
    record TEXT NOT NULL REFERENCES proposal (id),
    party  TEXT NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (record, party)
);

CREATE INDEX proposal_share_by_party ON proposal_share (party, record);

-- One row for each party that anything was ever queued for.
CREATE TABLE outbox_party (
    party       TEXT PRIMARY KEY,
    last_number BIGINT NOT NULL,
    last_ticket BIGINT NOT NULL
);

-- What is to be decided for a party. The ticket changes whenever the pair is queued again.
CREATE TABLE outbox_queue (
    party    TEXT NOT NULL REFERENCES outbox_party (party),
    record   TEXT NOT NULL,
    position BIGINT NOT NULL,
    ticket   BIGINT NOT NULL,
    PRIMARY KEY (party, record)
);

CREATE INDEX outbox_queue_by_position ON outbox_queue (party, position);

-- Everything that got a number. A retraction has neither version nor level.
CREATE TABLE outbox_item (
    party   TEXT NOT NULL REFERENCES outbox_party (party),
    number  BIGINT NOT NULL,
    record  TEXT NOT NULL,
    version TEXT,
    level   TEXT CHECK (level IN ('discover', 'read', 'read_sources')),
    at      BIGINT NOT NULL,
    PRIMARY KEY (party, number),
    CHECK ((version IS NULL) = (level IS NULL))
);

CREATE INDEX outbox_item_by_record ON outbox_item (party, record, number);

-- What a party holds of a record once it has stored everything that was numbered. Rows stay after a retraction:
-- a recall must reach everybody who ever received the record.
CREATE TABLE outbox_held (
    party   TEXT NOT NULL REFERENCES outbox_party (party),
    record  TEXT NOT NULL,
    number  BIGINT NOT NULL,
    holds   TEXT NOT NULL CHECK (holds IN ('discover', 'read', 'read_sources', 'nothing', 'unsure')),
    version TEXT,
    PRIMARY KEY (party, record)
);

CREATE INDEX outbox_held_by_record ON outbox_held (record, party);

CREATE TABLE outbox_receipt (
    party       TEXT NOT NULL REFERENCES outbox_party (party),
    last_number BIGINT NOT NULL,
    root        BLOB NOT NULL,
    envelope    BLOB NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (party, last_number)
);

-- What partners sent.
CREATE TABLE copy_source (
    origin      TEXT PRIMARY KEY,
    last_number BIGINT NOT NULL,
    page_cursor BLOB NOT NULL,
    updated_at  BIGINT NOT NULL
);

-- Kept as long as one copy stands on it.
CREATE TABLE copy_page (
    origin       TEXT NOT NULL REFERENCES copy_source (origin),
    first_number BIGINT NOT NULL,
    envelope     BLOB NOT NULL,
    received_at  BIGINT NOT NULL,
    PRIMARY KEY (origin, first_number)
);

CREATE TABLE copy (
    record     TEXT PRIMARY KEY,
    position   BIGINT NOT NULL UNIQUE,
    origin     TEXT NOT NULL,
    page       BIGINT NOT NULL,
    number     BIGINT NOT NULL,
    leaf_index BIGINT NOT NULL,
    path       BLOB NOT NULL,
    salt       BLOB NOT NULL,
    item       BLOB NOT NULL,
    FOREIGN KEY (origin, page) REFERENCES copy_page (origin, first_number)
);

CREATE INDEX copy_by_page ON copy (origin, page);

CREATE TABLE approval (
    id               TEXT PRIMARY KEY,
    position         BIGINT NOT NULL UNIQUE,
    kind             TEXT NOT NULL CHECK (kind IN ('share', 'table', 'vote', 'policy', 'withdraw')),
    state            TEXT NOT NULL CHECK (state IN ('pending', 'running', 'done', 'refused', 'failed')),
    author           TEXT NOT NULL,
    payload          BLOB NOT NULL,
    summary          TEXT NOT NULL,
    resource         TEXT NOT NULL,
    resource_version TEXT,
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    decided_by       TEXT,
    decided_at       BIGINT,
    outcome          TEXT
);

CREATE INDEX approval_by_state ON approval (state, position);
CREATE INDEX approval_by_author ON approval (author, state);

CREATE TABLE policy_version (
    party    TEXT NOT NULL,
    ordinal  BIGINT NOT NULL,
    text     TEXT NOT NULL,
    sha256   BLOB NOT NULL,
    author   TEXT NOT NULL,
    approver TEXT NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (party, ordinal)
);

-- The access log. Salt and record are the leaf; the columns after them repeat what queries look for.
CREATE TABLE access_leaf (
    n       INTEGER PRIMARY KEY,
    salt    BLOB NOT NULL,
    record  BLOB NOT NULL,
    hash    BLOB NOT NULL,
    at      BIGINT NOT NULL,
    who     TEXT,
    member  TEXT,
    action  TEXT NOT NULL,
    outcome TEXT NOT NULL
);

CREATE INDEX access_leaf_by_time ON access_leaf (at, n);
CREATE INDEX access_leaf_by_person ON access_leaf (who, n);
CREATE INDEX access_leaf_by_member ON access_leaf (member, n);

CREATE TABLE access_touched (
    resource TEXT NOT NULL,
    n        BIGINT NOT NULL REFERENCES access_leaf (n),
    PRIMARY KEY (resource, n)
);

CREATE INDEX access_touched_by_leaf ON access_touched (n);

-- RFC 9162 hashes of complete subtrees, in the order in which they become complete; only ever inserted.
CREATE TABLE access_hash (
    idx  INTEGER PRIMARY KEY,
    hash BLOB NOT NULL
);

CREATE TABLE access_checkpoint (
    size INTEGER PRIMARY KEY,
    note BLOB NOT NULL
);
