-- The national store, on SQLite and PostgreSQL: BYTES is BLOB there and BYTEA here, and CLUSTERED lies in the order of its key
-- there. Times are microseconds since the Unix epoch.
-- What is sealed is written so: it opens with `seal_key`, which is wrapped by the store's key outside the database.

CREATE TABLE store_identity (
    only_row   BIGINT PRIMARY KEY CHECK (only_row = 1),
    member     TEXT NOT NULL,
    federation BYTES NOT NULL,
    -- Opens with the store's key, and says so which one it is.
    key_check  BYTES NOT NULL
);

-- Who has the store. The number grows with each node that takes it; each write checks that it is still its own.
CREATE TABLE store_lease (
    only_row   BIGINT PRIMARY KEY CHECK (only_row = 1),
    fence      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Markings are few and records many.
CREATE TABLE marking (
    id   BIGINT PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
);

-- Records of this member. What partners sent is in `copy`.
CREATE TABLE record (
    position   ROWID PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('draft', 'shared', 'tabled', 'withdrawn')),
    version    TEXT NOT NULL,
    marking    BIGINT NOT NULL REFERENCES marking (id),
    -- The record of another that it answers.
    about      TEXT,
    author     TEXT NOT NULL,
    request_id TEXT,
    ballot     BYTES,
    seal_key   BYTES NOT NULL,
    -- When its current version was written: what national wordings meant then counts.
    written_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    recalled_at BIGINT,
    UNIQUE (author, request_id)
);

CREATE INDEX record_by_kind ON record (kind, position);
CREATE INDEX record_by_about ON record (about);

CREATE TABLE record_version (
    record   TEXT NOT NULL REFERENCES record (id),
    version  TEXT NOT NULL,
    ordinal  BIGINT NOT NULL,
    -- Sealed: what the author wrote.
    document BYTES NOT NULL,
    -- Sealed: the read and the sources document, and what opens the commitments to them.
    views    BYTES NOT NULL,
    author   TEXT NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (record, version),
    UNIQUE (record, ordinal)
);

-- Where the current version points.
CREATE TABLE record_link (
    record TEXT NOT NULL REFERENCES record (id),
    target TEXT NOT NULL,
    PRIMARY KEY (record, target)
) CLUSTERED;

CREATE INDEX record_link_by_target ON record_link (target);

-- To whom two people decided to show it. `onward` names the grant where it is an onward release.
CREATE TABLE record_share (
    record   TEXT NOT NULL REFERENCES record (id),
    party    TEXT NOT NULL,
    at       BIGINT NOT NULL,
    ends_at  BIGINT,
    onward   TEXT,
    -- Sealed: what it was released onward for.
    purpose  BYTES,
    PRIMARY KEY (record, party)
) CLUSTERED;

CREATE INDEX record_share_by_party ON record_share (party, record);

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
    ticket   BIGINT NOT NULL,
    PRIMARY KEY (party, record)
) CLUSTERED;

-- Everything that got a number. A retraction has neither version nor level. Rows stay: a recall must reach everybody who ever
-- received the record.
CREATE TABLE outbox_item (
    party   TEXT NOT NULL REFERENCES outbox_party (party),
    number  BIGINT NOT NULL,
    record  TEXT NOT NULL,
    version TEXT,
    level   TEXT CHECK (level IN ('discover', 'read', 'read_sources')),
    -- SHA-256 of the links and terms that went with it.
    shown   BYTES,
    -- Sent as something else under this number before: the party may hold either.
    unsure  BIGINT NOT NULL DEFAULT 0,
    -- When it must be decided again, whatever else happens.
    ends_at BIGINT,
    at      BIGINT NOT NULL,
    PRIMARY KEY (party, number),
    CHECK ((version IS NULL) = (level IS NULL))
) CLUSTERED;

CREATE INDEX outbox_item_by_record ON outbox_item (record, party, number);
CREATE INDEX outbox_item_by_end ON outbox_item (ends_at) WHERE ends_at IS NOT NULL;

CREATE TABLE outbox_receipt (
    party       TEXT NOT NULL REFERENCES outbox_party (party),
    last_number BIGINT NOT NULL,
    root        BYTES NOT NULL,
    envelope    BYTES NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (party, last_number)
);

-- What partners sent.
CREATE TABLE copy_source (
    origin      TEXT PRIMARY KEY,
    last_number BIGINT NOT NULL,
    page_cursor BYTES NOT NULL,
    updated_at  BIGINT NOT NULL
);

-- Kept as long as one copy stands on it.
CREATE TABLE copy_page (
    origin       TEXT NOT NULL REFERENCES copy_source (origin),
    first_number BIGINT NOT NULL,
    envelope     BYTES NOT NULL,
    received_at  BIGINT NOT NULL,
    PRIMARY KEY (origin, first_number)
);

CREATE TABLE copy (
    position   ROWID PRIMARY KEY,
    record     TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    origin     TEXT NOT NULL,
    page       BIGINT NOT NULL,
    number     BIGINT NOT NULL,
    leaf_index BIGINT NOT NULL,
    path       BYTES NOT NULL,
    seal_key   BYTES NOT NULL,
    -- Sealed: salt and item, as they were sent.
    item       BYTES NOT NULL,
    -- Taken back, and kept since it may not be destroyed: shown to nobody any more.
    retained   BIGINT NOT NULL DEFAULT 0,
    FOREIGN KEY (origin, page) REFERENCES copy_page (origin, first_number)
);

CREATE INDEX copy_by_page ON copy (origin, page, retained);
CREATE INDEX copy_by_kind ON copy (kind, position);

-- Recalls that this member made: the record of the recall itself, whom it must reach, and what they answered.
CREATE TABLE recall_party (
    recall      TEXT NOT NULL REFERENCES record (id),
    record      TEXT NOT NULL REFERENCES record (id),
    party       TEXT NOT NULL,
    position    BIGINT NOT NULL,
    fetched_at  BIGINT,
    answer      TEXT CHECK (answer IN ('destroyed', 'retained', 'cannot_comply')),
    envelope    BYTES,
    answered_at BIGINT,
    PRIMARY KEY (recall, party),
    UNIQUE (party, position)
);

CREATE INDEX recall_party_by_record ON recall_party (record);

-- Recalls that reached this node, and what it answered. Kept for ever: what was destroyed is not taken in again.
CREATE TABLE recall_received (
    recall       TEXT PRIMARY KEY,
    record       TEXT NOT NULL,
    origin       TEXT NOT NULL,
    envelope     BYTES NOT NULL,
    received_at  BIGINT NOT NULL,
    answer       TEXT NOT NULL CHECK (answer IN ('destroyed', 'retained', 'cannot_comply')),
    reply        BYTES NOT NULL,
    delivered_at BIGINT
);

CREATE INDEX recall_received_by_record ON recall_received (record);

-- Where to go on with each originator's recalls.
CREATE TABLE recall_source (
    origin   TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);

-- Copies that this member may not give up on request, such as by an order of a court.
CREATE TABLE copy_hold (
    record   TEXT PRIMARY KEY,
    -- Not secret: the reason goes into the answer.
    because  TEXT NOT NULL,
    author   TEXT NOT NULL,
    approver TEXT NOT NULL,
    at       BIGINT NOT NULL
);

CREATE TABLE approval (
    id               TEXT PRIMARY KEY,
    position         BIGINT NOT NULL UNIQUE,
    kind             TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('pending', 'running', 'done', 'refused', 'failed')),
    author           TEXT NOT NULL,
    seal_key         BYTES NOT NULL,
    -- Sealed.
    payload          BYTES NOT NULL,
    -- Sealed.
    summary          BYTES NOT NULL,
    resource         TEXT NOT NULL,
    resource_version TEXT,
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    decided_by       TEXT,
    decided_at       BIGINT,
    -- Sealed.
    outcome          BYTES
);

CREATE INDEX approval_by_state ON approval (state, position);
CREATE INDEX approval_by_author ON approval (author, state);

-- One signature of each person: the last one that they gave.
CREATE TABLE approval_signature (
    approval TEXT NOT NULL REFERENCES approval (id),
    person   TEXT NOT NULL,
    keyid    TEXT NOT NULL,
    sig      BYTES NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (approval, person)
);

-- The policy for each partner; under this member's own code, the clearances of its people.
CREATE TABLE policy_version (
    party    TEXT NOT NULL,
    ordinal  BIGINT NOT NULL,
    text     TEXT NOT NULL,
    sha256   BYTES NOT NULL,
    author   TEXT NOT NULL,
    approver TEXT NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (party, ordinal)
);

-- Small facts about the store itself, such as which table of equivalences its decisions were made by.
CREATE TABLE store_note (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- The access log. Salt and record are the leaf, which commits to the annex; the columns after them repeat what queries look for.
CREATE TABLE access_leaf (
    n       ROWID PRIMARY KEY,
    salt    BYTES NOT NULL,
    record  BYTES NOT NULL,
    annex   BYTES NOT NULL,
    hash    BYTES NOT NULL,
    at      BIGINT NOT NULL,
    who     TEXT,
    role    TEXT,
    member  TEXT,
    action  TEXT NOT NULL,
    outcome TEXT NOT NULL
);

CREATE INDEX access_leaf_by_time ON access_leaf (at, n);
CREATE INDEX access_leaf_by_person ON access_leaf (who, n);
CREATE INDEX access_leaf_by_member ON access_leaf (member, n);
-- Few are not allowed: those that are pay nothing for it.
CREATE INDEX access_leaf_not_allowed ON access_leaf (outcome, n) WHERE outcome <> 'allowed';

CREATE TABLE access_touched (
    resource TEXT NOT NULL,
    n        BIGINT NOT NULL REFERENCES access_leaf (n),
    PRIMARY KEY (resource, n)
) CLUSTERED;

CREATE INDEX access_touched_by_leaf ON access_touched (n);

-- RFC 9162 hashes of complete subtrees, in the order in which they become complete; only ever inserted.
CREATE TABLE access_hash (
    idx  ROWID PRIMARY KEY,
    hash BYTES NOT NULL
);

-- Signed heads, with the cosignatures of other members that have come in; how many of those is repeated to be found by.
CREATE TABLE access_checkpoint (
    size      ROWID PRIMARY KEY,
    note      BYTES NOT NULL,
    cosigners BIGINT NOT NULL
);

-- Leaves that lie in files by now, from the first on without a gap; a leaf of the log names each.
CREATE TABLE access_segment (
    first  BIGINT PRIMARY KEY,
    stop   BIGINT NOT NULL,
    file   TEXT NOT NULL,
    digest BYTES NOT NULL
);

-- Incarnations of the log after the first, each with the leaf that opened it.
CREATE TABLE access_incarnation (
    incarnation BIGINT PRIMARY KEY,
    opened_by   BIGINT NOT NULL
);

-- The last head of each other member's access log that this node cosigned.
CREATE TABLE witnessed_log (
    member      TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    note        BYTES NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (member, incarnation)
);

-- Heads that contradict it: evidence, kept for ever.
CREATE TABLE witness_conflict (
    member      TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    size        BIGINT NOT NULL,
    root        BYTES NOT NULL,
    why         TEXT NOT NULL,
    known       BYTES NOT NULL,
    offered     BYTES NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (member, incarnation, size, root)
);
