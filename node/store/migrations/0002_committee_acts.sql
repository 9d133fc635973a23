-- More kinds of acts wait for a second person, and people sign what they ask for and approve.
CREATE TABLE approval_of_any_kind (
    id               TEXT PRIMARY KEY,
    position         BIGINT NOT NULL UNIQUE,
    kind             TEXT NOT NULL CHECK (kind IN ('share', 'table', 'vote', 'policy', 'withdraw', 'motion', 'hold',
                         'extend_hold', 'lift_hold', 'object', 'measure', 'review', 'keys')),
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

INSERT INTO approval_of_any_kind (id, position, kind, state, author, payload, summary, resource, resource_version,
    created_at, expires_at, decided_by, decided_at, outcome)
SELECT id, position, kind, state, author, payload, summary, resource, resource_version,
    created_at, expires_at, decided_by, decided_at, outcome FROM approval;

DROP TABLE approval;
ALTER TABLE approval_of_any_kind RENAME TO approval;
CREATE INDEX approval_by_state ON approval (state, position);
CREATE INDEX approval_by_author ON approval (author, state);

-- One signature of each person: the last one that they gave.
CREATE TABLE approval_signature (
    approval TEXT NOT NULL REFERENCES approval (id),
    person   TEXT NOT NULL,
    keyid    TEXT NOT NULL,
    sig      BLOB NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (approval, person)
);
