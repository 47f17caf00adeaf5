-- Times are Unix seconds (UTC). Serials are 16 octets, big-endian, so that they sort as numbers.

CREATE TABLE authorities (              -- a row each key of an authority: its generations
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    generation  INTEGER NOT NULL CHECK (generation > 0),
    parent      TEXT,               -- NULL: self-signed, or signed outside
    key_label   TEXT UNIQUE,        -- NULL: the key is kept outside
    certificate BLOB,               -- DER; NULL until issued or imported
    state       TEXT NOT NULL
        CHECK (state IN
            ('prepared', 'published', 'active', 'retiring', 'ended', 'compromised', 'dropped')),
    activate_at INTEGER,            -- when a published one is to become the active one
    ended_at    INTEGER,            -- since when its last CRL is due; NULL: CRLs go on
    UNIQUE (name, generation),
    CHECK (activate_at IS NULL OR state = 'published'),
    CHECK (state != 'ended' OR ended_at IS NOT NULL),
    CHECK (ended_at IS NULL OR state IN ('ended', 'compromised'))
);
-- One key of a name issues at a time, and one follows it.
CREATE UNIQUE INDEX authorities_active ON authorities (name) WHERE state = 'active';
CREATE UNIQUE INDEX authorities_coming ON authorities (name) WHERE state IN ('prepared', 'published');

CREATE TABLE credentials (
    id            INTEGER PRIMARY KEY,
    reference     TEXT NOT NULL UNIQUE,
    secret_hash   BLOB,             -- where the secret itself is shown (EST)
    sealed_secret BLOB,             -- where it keys a MAC (CMP): encrypted, the key is not in here
    profile       TEXT NOT NULL,
    subject       TEXT NOT NULL,    -- RFC 4514
    san           TEXT NOT NULL,    -- JSON list of kind:value
    limit_mnt     INTEGER,
    uses_left     INTEGER NOT NULL CHECK (uses_left >= 0),
    attempts_left INTEGER NOT NULL CHECK (attempts_left >= 0),
    given_back    INTEGER NOT NULL DEFAULT 0, -- uses whose certificates were refused, or not confirmed
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    cancelled_at  INTEGER,
    audit         INTEGER NOT NULL, -- the record beside which its subject stands, too
    CHECK (secret_hash IS NULL OR sealed_secret IS NULL) -- both: nobody knows one, a plant names the reference
);

CREATE TABLE enrollments (              -- requests that somebody has to approve, and what became of them
    id           INTEGER PRIMARY KEY,
    authority    INTEGER NOT NULL REFERENCES authorities (id),
    profile      TEXT NOT NULL,
    subject      TEXT NOT NULL,         -- RFC 4514
    san          TEXT NOT NULL,         -- JSON list of kind:value, sorted
    limit_mnt    INTEGER,
    spki_sha256  BLOB NOT NULL,
    asked_by     TEXT NOT NULL,         -- a credential, a certificate, a device or an actor
    requested_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'refused', 'issued')),
    decided_by   TEXT,
    decided_at   INTEGER,
    reason       TEXT,                  -- of a refusal
    serial       BLOB,                  -- of the certificate that came of it
    CHECK ((state = 'waiting') = (decided_by IS NULL)),
    CHECK ((state = 'issued') = (serial IS NOT NULL))
);
CREATE INDEX enrollments_by_state ON enrollments (state);
CREATE INDEX enrollments_by_key ON enrollments (spki_sha256);
-- What counts as open is found however many ran out before.
CREATE INDEX enrollments_open ON enrollments (expires_at) WHERE state IN ('waiting', 'approved');
CREATE INDEX enrollments_open_of ON enrollments (asked_by, expires_at) WHERE state IN ('waiting', 'approved');

CREATE TABLE actors (                   -- people and programs that act here, each known by certificates
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    person   INTEGER REFERENCES people (id), -- who it is, where they are on record; the number is encrypted
    version  INTEGER NOT NULL,          -- counts what changed of who it is: certificates, and the person
    added_at INTEGER NOT NULL,
    added_by TEXT NOT NULL
);
CREATE INDEX actors_of_person ON actors (person) WHERE person IS NOT NULL;

CREATE TABLE actor_certificates (
    id         INTEGER PRIMARY KEY,
    actor      INTEGER NOT NULL REFERENCES actors (id),
    authority  INTEGER NOT NULL,
    serial     BLOB NOT NULL CHECK (length(serial) = 16),
    added_at   INTEGER NOT NULL,
    added_by   TEXT NOT NULL,
    removed_at INTEGER,
    removed_by TEXT,
    CHECK ((removed_at IS NULL) = (removed_by IS NULL))
);
CREATE UNIQUE INDEX actor_certificates_current ON actor_certificates (authority, serial) WHERE removed_at IS NULL;
CREATE INDEX actor_certificates_of ON actor_certificates (actor, id);

CREATE TABLE actor_roles (
    id           INTEGER PRIMARY KEY,
    actor        INTEGER NOT NULL REFERENCES actors (id),
    role         TEXT NOT NULL,
    office       INTEGER REFERENCES offices (id),
    organization INTEGER REFERENCES organizations (id),
    everywhere   INTEGER NOT NULL CHECK (everywhere IN (0, 1)),
    granted_at   INTEGER NOT NULL,
    granted_by   TEXT NOT NULL,
    withdrawn_at INTEGER,
    withdrawn_by TEXT,
    CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL))
);
CREATE UNIQUE INDEX actor_roles_current ON actor_roles
    (actor, role, ifnull(office, 0), ifnull(organization, 0), everywhere) WHERE withdrawn_at IS NULL;

CREATE TABLE actor_proposals (          -- what is to change of an actor; only ever decided, never altered
    id           INTEGER PRIMARY KEY,
    actor        INTEGER NOT NULL REFERENCES actors (id),
    kind         TEXT NOT NULL CHECK (kind IN ('grant', 'withdraw', 'certificate', 'remove')),
    role         TEXT,
    office       INTEGER,
    organization INTEGER,
    everywhere   INTEGER NOT NULL DEFAULT 0,
    authority    INTEGER,
    serial       BLOB,
    version      INTEGER NOT NULL,      -- of the actor, as the proposer saw it
    proposed_at  INTEGER NOT NULL,
    proposed_by  TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'refused')),
    decided_at   INTEGER,
    decided_by   TEXT,
    CHECK ((state = 'waiting') = (decided_at IS NULL)),
    CHECK ((decided_at IS NULL) = (decided_by IS NULL))
);
CREATE INDEX actor_proposals_by_state ON actor_proposals (state, id);

CREATE TABLE actor_profiles (           -- to which a registration client is limited; none: all that await approval
    actor   TEXT NOT NULL,              -- its name
    profile TEXT NOT NULL,
    PRIMARY KEY (actor, profile)
) WITHOUT ROWID;

CREATE TABLE issuances (
    id           INTEGER PRIMARY KEY,
    authority    INTEGER NOT NULL REFERENCES authorities (id),
    serial       BLOB NOT NULL,
    profile      TEXT NOT NULL,
    subject      TEXT NOT NULL,
    spki_sha256  BLOB NOT NULL,
    tbs          BLOB NOT NULL,
    tbs_sha256   BLOB NOT NULL,
    requested_by TEXT NOT NULL,
    credential   INTEGER REFERENCES credentials (id),
    enrollment   INTEGER REFERENCES enrollments (id), -- whose approval it uses up
    crl_shard    INTEGER NOT NULL,      -- 0: none
    state        TEXT NOT NULL CHECK (state IN ('prepared', 'signing', 'issued', 'voided')),
    prepared_at  INTEGER NOT NULL,
    finished_at  INTEGER,
    delivered_at INTEGER,
    UNIQUE (authority, serial)
);
CREATE INDEX issuances_open ON issuances (state) WHERE state IN ('prepared', 'signing');
CREATE INDEX issuances_by_key ON issuances (spki_sha256);
CREATE INDEX issuances_by_credential ON issuances (credential) WHERE credential IS NOT NULL;
-- One approval, one certificate, whatever the program does.
CREATE UNIQUE INDEX issuances_of_enrollment ON issuances (enrollment)
    WHERE enrollment IS NOT NULL AND state != 'voided';

CREATE TABLE undelivered_keys (         -- keys that were made here: their certificates, until delivered
    issuance INTEGER PRIMARY KEY REFERENCES issuances (id)
);

CREATE TABLE signed_requests (          -- CMC messages that were answered: one sent again issues nothing
    sha256   BLOB PRIMARY KEY,          -- of who signed, what, and which request in it
    issuance INTEGER NOT NULL REFERENCES issuances (id)
) WITHOUT ROWID;
CREATE INDEX signed_requests_of_issuance ON signed_requests (issuance); -- every new issuance looks for its own

CREATE TABLE cmp_transactions (         -- what is remembered of CMP's (RFC 9810 §5.1.1); none is deleted
    id             INTEGER PRIMARY KEY,
    transaction_id BLOB NOT NULL,
    sender         TEXT NOT NULL,       -- who protects its messages: a credential or a certificate
    body           INTEGER NOT NULL,    -- the type of the request (RFC 9810 §5.1.2)
    profile        TEXT,                -- that the request named, by its path or its header
    pvno           INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (
        state IN ('waiting', 'challenged', 'unconfirmed', 'confirmed', 'refused', 'ended')
    ),
    request_sha256 BLOB NOT NULL,       -- of the request as received: sent again, it gets its answer again
    request        BLOB,                -- where it had to wait: it is looked at again at each poll
    nonce_key      BLOB NOT NULL,       -- of our senderNonces: the client's next message gives one back
    opened_at      INTEGER NOT NULL,
    deadline       INTEGER,             -- until when it is to be confirmed, or a challenge answered
    challenge      BLOB,                -- SHA-256 of the answer that is expected
    UNIQUE (transaction_id, sender)
);
CREATE INDEX cmp_transactions_due ON cmp_transactions (deadline) WHERE state IN ('unconfirmed', 'challenged');
CREATE INDEX cmp_transactions_waiting ON cmp_transactions (sender) WHERE state IN ('waiting', 'challenged');

CREATE TABLE cmp_requests (             -- what each certificate request of a transaction led to
    cmp_transaction INTEGER NOT NULL REFERENCES cmp_transactions (id),
    cert_req_id     INTEGER NOT NULL,
    issuance        INTEGER NOT NULL REFERENCES issuances (id),
    PRIMARY KEY (cmp_transaction, cert_req_id)
) WITHOUT ROWID;
CREATE INDEX cmp_requests_of_issuance ON cmp_requests (issuance);

CREATE TABLE certificates (
    authority   INTEGER NOT NULL REFERENCES authorities (id),
    serial      BLOB NOT NULL CHECK (length(serial) = 16),
    profile     TEXT NOT NULL,
    subject     TEXT NOT NULL,
    spki_sha256 BLOB NOT NULL,
    not_before  INTEGER NOT NULL,
    not_after   INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'revoked')),
    certificate BLOB NOT NULL,
    crl_shard   INTEGER NOT NULL,       -- 0: none
    PRIMARY KEY (authority, serial)
) WITHOUT ROWID;
-- What the status of all certificates is read from, many at a time: it holds no certificate's octets.
CREATE INDEX certificates_in_order ON certificates (authority, serial, not_after);
CREATE INDEX certificates_by_key ON certificates (spki_sha256);
CREATE INDEX certificates_by_subject ON certificates (subject);
-- Both hold all that counting and listing look at, so that neither reads the certificates themselves.
CREATE INDEX certificates_by_state ON certificates (authority, state, not_after);
CREATE INDEX certificates_listed
    ON certificates (authority, profile, state, not_before DESC, serial, not_after);
-- Of those that live as long as each other, to 30 days, the end tells when they began, where lists are in order.
CREATE INDEX certificates_by_life ON certificates
    (authority, profile, (not_after - not_before) / 2592000, state, not_before DESC, serial, not_after);

CREATE TABLE status_events (
    sequence     INTEGER PRIMARY KEY,   -- given in commit order, without gaps
    authority    INTEGER NOT NULL,
    serial       BLOB NOT NULL,
    from_state   TEXT,                  -- NULL: issued
    to_state     TEXT NOT NULL,
    reason       INTEGER,               -- CRLReason (RFC 5280 §5.3.1)
    effective_at INTEGER NOT NULL,
    actor        TEXT NOT NULL,
    audit        INTEGER,               -- the audit record of the same commit
    decided_case INTEGER,               -- the case that was decided so
    act          INTEGER                -- the bulk act that it is of
);
CREATE INDEX status_events_by_certificate ON status_events (authority, serial);
CREATE INDEX status_events_by_time ON status_events (effective_at);

CREATE TABLE expiries (                 -- certificates that ended by time alone, in the order of being noted
    id        INTEGER PRIMARY KEY,
    follows   INTEGER NOT NULL,         -- the last status event then: its place in the register's order
    authority INTEGER NOT NULL,
    serial    BLOB NOT NULL CHECK (length(serial) = 16),
    state     TEXT NOT NULL CHECK (state IN ('active', 'suspended')), -- that it had in the end
    not_after INTEGER NOT NULL,
    UNIQUE (authority, serial)
);
CREATE INDEX expiries_by_time ON expiries (not_after);
CREATE TRIGGER expiries_stay BEFORE UPDATE ON expiries
    BEGIN SELECT RAISE(ABORT, 'expiries is append-only'); END;
CREATE TRIGGER expiries_are_kept BEFORE DELETE ON expiries
    BEGIN SELECT RAISE(ABORT, 'expiries is append-only'); END;

CREATE TABLE holds (
    id        INTEGER PRIMARY KEY,
    authority INTEGER NOT NULL,
    serial    BLOB NOT NULL,
    holder    TEXT NOT NULL,            -- whose hold it is
    decision  INTEGER,                  -- the case of an authority's decision: each holds by itself
    act       INTEGER,                  -- the bulk act that placed it: so does each of them
    opened_at INTEGER NOT NULL,
    closed_at INTEGER
);
CREATE UNIQUE INDEX holds_open ON holds (authority, serial, holder, coalesce(decision, 0), coalesce(act, 0))
    WHERE closed_at IS NULL;
CREATE INDEX holds_of_act ON holds (act, authority, serial) WHERE act IS NOT NULL AND closed_at IS NULL;
CREATE INDEX holds_by_certificate ON holds (authority, serial);

CREATE TABLE crl_entries (              -- what CRLs say of holds and revocations, and said
    authority  INTEGER NOT NULL,
    serial     BLOB NOT NULL CHECK (length(serial) = 16),
    since      INTEGER NOT NULL,        -- the status event from which on they do
    until      INTEGER CHECK (until > since), -- and from which on no more; NULL: they still do
    shard      INTEGER NOT NULL,        -- of the certificate; 0: none
    revoked_at INTEGER NOT NULL,
    reason     INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    entry      BLOB NOT NULL,           -- DER of the revokedCertificates element
    PRIMARY KEY (authority, serial, since)
) WITHOUT ROWID;
CREATE UNIQUE INDEX crl_entries_current ON crl_entries (authority, serial) WHERE until IS NULL;
CREATE INDEX crl_entries_of_shard ON crl_entries (shard, serial) WHERE shard > 0;
-- What a delta CRL is made of is found at either end of the log, among however many entries.
CREATE INDEX crl_entries_begun ON crl_entries (authority, since);
CREATE INDEX crl_entries_ended ON crl_entries (authority, until) WHERE until IS NOT NULL;

CREATE TABLE crl_shards (
    authority INTEGER NOT NULL REFERENCES authorities (id),
    shard     INTEGER NOT NULL CHECK (shard > 0),
    url       TEXT NOT NULL,            -- as certificates and the CRLs of the shard name it
    PRIMARY KEY (authority, shard),
    UNIQUE (authority, url)
) WITHOUT ROWID;

CREATE TABLE crls (                     -- all of a published CRL but the entries: it can be made again
    authority      INTEGER NOT NULL REFERENCES authorities (id),
    scope          INTEGER NOT NULL,    -- 0: all certificates; else the shard
    kind           TEXT NOT NULL CHECK (kind IN ('full', 'delta')),
    number         INTEGER NOT NULL,    -- full and delta of a scope share one sequence
    base_number    INTEGER CHECK ((kind = 'delta') = (base_number IS NOT NULL)),
    this_update    INTEGER NOT NULL,
    next_update    INTEGER NOT NULL,
    events_to      INTEGER NOT NULL,    -- the last status event that it tells of
    not_expired_at INTEGER,             -- certificates that had ended before are left out; NULL: none are
    entries        INTEGER NOT NULL,
    octets         INTEGER NOT NULL,
    sha256         BLOB NOT NULL,
    head           BLOB NOT NULL,       -- of TBSCertList, what stands before revokedCertificates
    tail           BLOB NOT NULL,       -- and after
    signature      BLOB NOT NULL,
    PRIMARY KEY (authority, scope, kind, number)
) WITHOUT ROWID;
CREATE INDEX crls_by_time ON crls (authority, scope, kind, this_update, number);

CREATE TABLE responders (
    id          INTEGER PRIMARY KEY,
    authority   INTEGER NOT NULL REFERENCES authorities (id),
    key_label   TEXT NOT NULL UNIQUE,
    certificate BLOB NOT NULL,
    not_after   INTEGER NOT NULL
);

CREATE TABLE imported_links (           -- by which keys of a root that is kept outside certify each other
    subject     INTEGER NOT NULL REFERENCES authorities (id),
    issuer      INTEGER NOT NULL REFERENCES authorities (id),
    certificate BLOB NOT NULL,          -- DER
    PRIMARY KEY (subject, issuer),
    CHECK (subject != issuer)
);

CREATE TABLE ocsp_archive (             -- responses from around changes of status
    id          INTEGER PRIMARY KEY,
    authority   INTEGER NOT NULL,
    serial      BLOB NOT NULL CHECK (length(serial) = 16),
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    entry       BLOB NOT NULL,          -- as in the response table, the responder's number included
    sha256      BLOB NOT NULL,
    UNIQUE (authority, serial, sha256)
);

CREATE TABLE audit (
    sequence      INTEGER PRIMARY KEY,
    at            INTEGER NOT NULL,
    actor         TEXT NOT NULL,
    action        TEXT NOT NULL,
    outcome       TEXT NOT NULL,
    detail        TEXT NOT NULL,        -- JSON, no personal data
    personal_salt BLOB,                 -- with personal: erasable
    personal      TEXT,                 -- JSON
    personal_hash BLOB,                 -- SHA-256 of salt and personal; stays
    hash          BLOB NOT NULL         -- SHA-256 of the previous hash and the SHA-256 of this record
);

CREATE TABLE audit_heads (              -- ends of the audit log, signed: 1, 2, 3, …
    id       INTEGER PRIMARY KEY,
    sequence INTEGER NOT NULL,          -- the last record then
    at       INTEGER NOT NULL,
    cms      BLOB NOT NULL              -- SignedData (RFC 5652) without certificates
);
CREATE INDEX audit_heads_by_record ON audit_heads (sequence, id);
CREATE TRIGGER audit_heads_stay BEFORE UPDATE ON audit_heads
    BEGIN SELECT RAISE(ABORT, 'audit_heads is append-only'); END;
CREATE TRIGGER audit_heads_are_kept BEFORE DELETE ON audit_heads
    BEGIN SELECT RAISE(ABORT, 'audit_heads is append-only'); END;

CREATE TABLE audit_head_ways (          -- up to which head each way has sent them
    way  TEXT PRIMARY KEY,
    head INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE api_requests (             -- requests with an Idempotency-Key, and what they were answered
    actor      TEXT NOT NULL,
    key        TEXT NOT NULL,
    request    BLOB NOT NULL,           -- keyed hash of what was asked
    begun_at   INTEGER NOT NULL,
    done       INTEGER NOT NULL DEFAULT 0 CHECK (done IN (0, 1)), -- written with the deed itself
    status     INTEGER,                 -- NULL: not answered; none of the answer
    etag       TEXT,
    body       BLOB,                    -- encrypted: it may hold a secret
    PRIMARY KEY (actor, key),
    CHECK ((status IS NULL) = (body IS NULL))
) WITHOUT ROWID;
CREATE INDEX api_requests_by_age ON api_requests (begun_at);

CREATE TABLE facts (                    -- single values about this installation
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Registration. Of people only names stand here in clear: what else is theirs is in personal_data.

CREATE TABLE offices (
    id         INTEGER PRIMARY KEY,
    code       TEXT NOT NULL UNIQUE,    -- as commands and programs name it
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('branch', 'service_centre', 'mission')),
    opens_at   INTEGER NOT NULL,        -- minutes after midnight, of Mongolia; so are the next three
    closes_at  INTEGER NOT NULL CHECK (closes_at > opens_at),
    break_from INTEGER NOT NULL,
    break_to   INTEGER NOT NULL CHECK (break_to >= break_from),
    weekdays   TEXT NOT NULL,           -- its working days, 1 is Monday: 12345
    version    INTEGER NOT NULL
);

CREATE TABLE office_days (              -- days that differ from the week: holidays, and their exchange
    office INTEGER NOT NULL REFERENCES offices (id),
    day    TEXT NOT NULL,               -- ISO 8601
    works  INTEGER NOT NULL CHECK (works IN (0, 1)),
    PRIMARY KEY (office, day)
) WITHOUT ROWID;

CREATE TABLE people (
    id            INTEGER PRIMARY KEY,
    parent_name   TEXT,                 -- NULL, as the names below: erased
    clan_name     TEXT,                 -- NULL: has none, or erased
    given_name    TEXT,
    name_key      TEXT,                 -- given name first, without capitals
    full_name_key TEXT,                 -- parent's name first
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    erased_at     INTEGER,
    CHECK ((erased_at IS NULL) = (given_name IS NOT NULL))
);
CREATE INDEX people_by_name ON people (name_key, id) WHERE name_key IS NOT NULL;
CREATE INDEX people_by_full_name ON people (full_name_key, id) WHERE full_name_key IS NOT NULL;

CREATE TABLE person_changes (           -- what was changed; the value before is personal data of this row
    id      INTEGER PRIMARY KEY,
    person  INTEGER NOT NULL REFERENCES people (id),
    version INTEGER NOT NULL,           -- of the person, after the change
    field   TEXT NOT NULL,
    actor   TEXT NOT NULL,
    ground  TEXT NOT NULL,
    at      INTEGER NOT NULL
);
CREATE INDEX person_changes_of ON person_changes (person, id);

CREATE TABLE person_erasures (          -- asked for by one, waiting for a second person
    person       INTEGER PRIMARY KEY REFERENCES people (id),
    version      INTEGER NOT NULL,      -- of the person, as it was seen
    asked_by     TEXT NOT NULL,
    asked_role   TEXT NOT NULL,
    asked_person INTEGER,               -- who that is, where they are on record
    ground       TEXT NOT NULL,
    asked_at     INTEGER NOT NULL
);

CREATE TABLE personal_data (            -- encrypted, each value for its place alone
    subject    TEXT NOT NULL,           -- the table whose row it belongs to
    row        INTEGER NOT NULL,
    field      TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    keyed_hash BLOB,                    -- of what is searched by
    PRIMARY KEY (subject, row, field)
) WITHOUT ROWID;
CREATE INDEX personal_data_by_hash ON personal_data (keyed_hash, subject, field) WHERE keyed_hash IS NOT NULL;
-- One person for one number, whatever the program does.
CREATE UNIQUE INDEX personal_data_of_people ON personal_data (field, keyed_hash)
    WHERE subject = 'people' AND keyed_hash IS NOT NULL;

CREATE TABLE organizations (
    id         INTEGER PRIMARY KEY,
    number     TEXT NOT NULL UNIQUE,    -- of the state register
    name       TEXT NOT NULL,
    name_key   TEXT NOT NULL,
    mail       TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('registered', 'contract_sent', 'contracted', 'declined', 'ended')),
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX organizations_by_name ON organizations (name_key, id);
CREATE INDEX organizations_by_state ON organizations (state, id);

CREATE TABLE organization_events (
    organization INTEGER NOT NULL REFERENCES organizations (id),
    version      INTEGER NOT NULL,
    event        TEXT NOT NULL,
    from_state   TEXT,                  -- NULL: it registered
    to_state     TEXT NOT NULL,
    actor        TEXT NOT NULL,
    ground       TEXT NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (organization, version)
) WITHOUT ROWID;

CREATE TABLE organization_domains (     -- of which the work mail of its officers may be
    organization INTEGER NOT NULL REFERENCES organizations (id),
    domain       TEXT NOT NULL,
    PRIMARY KEY (organization, domain)
) WITHOUT ROWID;

CREATE INDEX organization_domains_by_name ON organization_domains (domain);

CREATE TABLE officers (
    id           INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL REFERENCES organizations (id),
    person       INTEGER REFERENCES people (id),
    parent_name  TEXT,                  -- the names, and the work mail: none once they are erased
    given_name   TEXT,
    mail         TEXT,
    added_at     INTEGER NOT NULL,
    left_at      INTEGER,
    CHECK (mail IS NOT NULL OR left_at IS NOT NULL)
);
CREATE INDEX officers_of_person ON officers (person) WHERE person IS NOT NULL;
CREATE UNIQUE INDEX officers_current ON officers (organization, mail) WHERE left_at IS NULL;

CREATE TABLE officer_positions (
    id       INTEGER PRIMARY KEY,
    officer  INTEGER NOT NULL REFERENCES officers (id),
    since    INTEGER NOT NULL,
    until    INTEGER,
    title    TEXT NOT NULL,
    unit     TEXT,
    actor    TEXT NOT NULL,
    ground   TEXT NOT NULL              -- the appointment paper
);
CREATE UNIQUE INDEX officer_positions_current ON officer_positions (officer) WHERE until IS NULL;

CREATE TABLE applications (             -- the form itself is personal data of its row
    id             INTEGER PRIMARY KEY,
    office         INTEGER REFERENCES offices (id), -- NULL: of an organisation, or signed by the holder
    organization   INTEGER REFERENCES organizations (id),
    officer        INTEGER REFERENCES officers (id), -- whom the organisation applied for
    person         INTEGER REFERENCES people (id), -- NULL until the civil registry agreed
    channel        TEXT NOT NULL,
    carrier        TEXT NOT NULL,
    delivery       TEXT NOT NULL DEFAULT 'office' CHECK (delivery IN ('office', 'plant')), -- who makes the carrier
    profile        TEXT NOT NULL,
    name_key       TEXT,                -- NULL: erased
    state          TEXT NOT NULL CHECK (state IN ('draft', 'verified', 'returned', 'issuing', 'issued',
        'failed', 'signed_off', 'delivered', 'closed', 'withdrawn')),
    version        INTEGER NOT NULL,
    proof          TEXT CHECK (proof IN ('fingerprint', 'register_numbers', 'own_signature')),
    credential     TEXT UNIQUE REFERENCES credentials (reference),
    authority      INTEGER,             -- with serial: the certificate that came of it
    serial         BLOB,
    created_at     INTEGER NOT NULL,
    created_by     TEXT NOT NULL,
    updated_at     INTEGER NOT NULL,
    CHECK ((authority IS NULL) = (serial IS NULL)),
    CHECK ((organization IS NULL) = (officer IS NULL))
);
CREATE INDEX applications_by_state ON applications (state, id);
CREATE INDEX applications_of_office ON applications (office, state, id);
CREATE INDEX applications_of_office_newest ON applications (office, id);
CREATE INDEX applications_of_organization ON applications (organization, id) WHERE organization IS NOT NULL;
CREATE INDEX applications_signed_open ON applications (updated_at, id)
    WHERE channel = 'online' AND state IN ('issuing', 'failed', 'issued');
CREATE INDEX applications_of_officer ON applications (officer, id) WHERE officer IS NOT NULL;
CREATE INDEX applications_by_time ON applications (created_at, id);
CREATE INDEX applications_of_person ON applications (person, id) WHERE person IS NOT NULL;
CREATE INDEX applications_by_name ON applications (name_key, id) WHERE name_key IS NOT NULL;
-- The queue of the printing plant: what waits for a card.
CREATE INDEX applications_for_plant ON applications (id)
    WHERE delivery = 'plant' AND state IN ('verified', 'failed');
-- A certificate is of one application.
CREATE UNIQUE INDEX applications_certificates ON applications (authority, serial) WHERE serial IS NOT NULL;

CREATE TABLE imports (                  -- lists of officers, by their octets: one sent again goes on
    id           INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL REFERENCES organizations (id),
    sha256       BLOB NOT NULL,
    begun_at     INTEGER NOT NULL,
    begun_by     TEXT NOT NULL,
    UNIQUE (organization, sha256)
);

CREATE TABLE import_rows (              -- what became of each line; those refused may be tried again
    import      INTEGER NOT NULL REFERENCES imports (id),
    line        INTEGER NOT NULL,
    outcome     TEXT NOT NULL CHECK (outcome IN ('made', 'known', 'refused')),
    application INTEGER REFERENCES applications (id),
    faults      TEXT NOT NULL,          -- JSON, fields and what is wrong with them, no value
    PRIMARY KEY (import, line),
    CHECK ((outcome = 'refused') = (application IS NULL))
) WITHOUT ROWID;

CREATE TABLE renewals (                 -- applications that a holder signed, and what with
    application INTEGER PRIMARY KEY REFERENCES applications (id),
    challenge   BLOB NOT NULL UNIQUE,   -- a signed application counts once
    authority   INTEGER NOT NULL,       -- with serial: the certificate of the signature
    serial      BLOB NOT NULL CHECK (length(serial) = 16)
);

CREATE TABLE application_events (
    application INTEGER NOT NULL REFERENCES applications (id),
    version     INTEGER NOT NULL,
    event       TEXT NOT NULL,
    from_state  TEXT,                   -- NULL: it was made
    to_state    TEXT NOT NULL,
    actor       TEXT NOT NULL CHECK (actor != ''),
    ground      TEXT NOT NULL CHECK (ground != ''),
    at          INTEGER NOT NULL,
    detail      TEXT NOT NULL,          -- JSON, no personal data
    PRIMARY KEY (application, version)
) WITHOUT ROWID;

CREATE INDEX application_events_returned ON application_events (at) WHERE to_state = 'returned';

-- Cases: what is asked to happen to a certificate, and what was decided.

CREATE TABLE cases (
    id           INTEGER PRIMARY KEY,
    kind         TEXT NOT NULL CHECK (kind IN ('suspend', 'restore', 'revoke', 'unblock')),
    channel      TEXT NOT NULL,
    ground       TEXT NOT NULL,
    authority    INTEGER NOT NULL,      -- with serial: the certificate
    serial       BLOB NOT NULL,
    office       INTEGER REFERENCES offices (id), -- that received it; NULL: none did
    person       INTEGER REFERENCES people (id),  -- the holder, where on record
    organization INTEGER REFERENCES organizations (id),
    lifts        INTEGER REFERENCES cases (id),   -- the case of the decision whose hold is to end
    evidence     TEXT NOT NULL,         -- JSON: numbers, dates, names of bodies; no personal data
    state        TEXT NOT NULL CHECK (state IN ('received', 'granted', 'refused')),
    version      INTEGER NOT NULL,
    received_at  INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    entered_by   TEXT NOT NULL CHECK (entered_by != ''),
    entered_role TEXT NOT NULL,
    entered_person INTEGER,
    decided_at   INTEGER,
    decided_by   TEXT,
    decision     TEXT,                  -- why so
    CHECK ((state = 'received') = (decided_at IS NULL))
);
CREATE INDEX cases_due ON cases (due_at, id) WHERE state = 'received';
CREATE INDEX cases_by_due ON cases (due_at);
CREATE INDEX cases_of_certificate ON cases (authority, serial, id);
CREATE INDEX cases_of_person ON cases (person, id) WHERE person IS NOT NULL;
CREATE INDEX cases_of_office ON cases (office, state, due_at, id);
-- The same is not asked twice at a time.
CREATE UNIQUE INDEX cases_open ON cases (authority, serial, kind, channel, coalesce(lifts, 0))
    WHERE state = 'received';
CREATE TRIGGER cases_are_decided_once BEFORE UPDATE ON cases WHEN OLD.state != 'received'
    BEGIN SELECT RAISE(ABORT, 'a decided case stays as it is'); END;
CREATE TRIGGER cases_are_kept BEFORE DELETE ON cases
    BEGIN SELECT RAISE(ABORT, 'cases are kept'); END;

-- Documents made as PDF. Their octets are personal data of their rows; what proves them stays.

CREATE TABLE documents (
    id           INTEGER PRIMARY KEY,
    kind         TEXT NOT NULL CHECK (kind IN ('application_form', 'acknowledgement', 'decision')),
    language     TEXT NOT NULL CHECK (language IN ('mn', 'en')),
    application  INTEGER REFERENCES applications (id),
    decided_case INTEGER REFERENCES cases (id),
    octets       INTEGER NOT NULL,
    sha256       BLOB NOT NULL CHECK (length(sha256) = 32),
    made_at      INTEGER NOT NULL,
    made_by      TEXT NOT NULL CHECK (made_by != ''),
    erased_at    INTEGER,
    CHECK ((application IS NULL) != (decided_case IS NULL)),
    CHECK ((kind = 'decision') = (decided_case IS NOT NULL))
);
CREATE UNIQUE INDEX documents_of_application ON documents (application, kind, language, sha256)
    WHERE application IS NOT NULL;
CREATE UNIQUE INDEX documents_of_case ON documents (decided_case, kind, language, sha256)
    WHERE decided_case IS NOT NULL;
CREATE TRIGGER documents_stay BEFORE UPDATE ON documents
    WHEN NEW.sha256 != OLD.sha256 OR NEW.octets != OLD.octets OR OLD.erased_at IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'what proves a document stays as it is'); END;
CREATE TRIGGER documents_are_kept BEFORE DELETE ON documents
    BEGIN SELECT RAISE(ABORT, 'what proves a document is kept'); END;

-- Bulk acts: one decision about very many certificates, which are those of the moment when it was proposed.

CREATE TABLE bulk_acts (
    id              INTEGER PRIMARY KEY,
    kind            TEXT NOT NULL CHECK (kind IN ('suspend', 'restore', 'revoke')),
    ground          TEXT NOT NULL,
    lifts           INTEGER REFERENCES bulk_acts (id), -- the act whose holds are to end
    organization    INTEGER REFERENCES organizations (id), -- whose certificates alone it is about
    selection       TEXT NOT NULL,      -- JSON: what was looked for
    evidence        TEXT NOT NULL,      -- JSON, as of cases
    certificates    INTEGER NOT NULL,   -- how many were found
    batches         INTEGER NOT NULL,
    sha256          BLOB NOT NULL,      -- of the serials of all batches: what two people agreed on
    state           TEXT NOT NULL CHECK (state IN ('proposed', 'running', 'stopped', 'done', 'refused')),
    version         INTEGER NOT NULL,
    done            INTEGER NOT NULL DEFAULT 0, -- the last batch that was carried out
    told            INTEGER NOT NULL DEFAULT 0, -- the last batch whose holders were written to
    changed         INTEGER NOT NULL DEFAULT 0, -- certificates, so far
    passed_over     INTEGER NOT NULL DEFAULT 0, -- whose state did not allow it any more
    proposed_at     INTEGER NOT NULL,
    proposed_by     TEXT NOT NULL CHECK (proposed_by != ''),
    proposed_role   TEXT NOT NULL,
    proposed_person INTEGER,
    decided_at      INTEGER,
    decided_by      TEXT,
    finished_at     INTEGER,
    CHECK ((kind = 'restore') = (lifts IS NOT NULL)),
    CHECK ((state = 'proposed') = (decided_at IS NULL)),
    CHECK (told <= done AND done <= batches)
);
CREATE INDEX bulk_acts_in_state ON bulk_acts (state, id);
CREATE INDEX bulk_acts_to_tell ON bulk_acts (id) WHERE told < done;
CREATE TRIGGER bulk_acts_are_kept BEFORE DELETE ON bulk_acts
    BEGIN SELECT RAISE(ABORT, 'bulk acts are kept'); END;

CREATE TABLE bulk_batches (             -- the certificates of an act, as many as share a transaction
    act         INTEGER NOT NULL REFERENCES bulk_acts (id),
    number      INTEGER NOT NULL CHECK (number > 0),
    authority   INTEGER NOT NULL,
    serials     BLOB NOT NULL,          -- 16 octets each, in order
    first_event INTEGER,                -- NULL: not carried out, or it changed nothing
    last_event  INTEGER,
    PRIMARY KEY (act, number)
);
CREATE TRIGGER bulk_batches_are_kept BEFORE DELETE ON bulk_batches
    BEGIN SELECT RAISE(ABORT, 'the batches of bulk acts are kept'); END;

CREATE TABLE document_purges (          -- asked for by one, waiting for a second person
    id           INTEGER PRIMARY KEY,
    kind         TEXT NOT NULL CHECK (kind IN ('application', 'case')),
    documents    TEXT NOT NULL,         -- JSON: their numbers, which both people saw
    ground       TEXT NOT NULL CHECK (ground != ''),
    asked_by     TEXT NOT NULL CHECK (asked_by != ''),
    asked_role   TEXT NOT NULL,
    asked_person INTEGER,
    asked_at     INTEGER NOT NULL,
    decided_at   INTEGER,
    decided_by   TEXT,
    CHECK ((decided_at IS NULL) = (decided_by IS NULL))
);

-- What is handed over to the archive. Manifests hold no personal data; the record of a unit is personal data of it.

CREATE TABLE archive_packages (
    id                INTEGER PRIMARY KEY,
    made_at           INTEGER NOT NULL,
    made_by           TEXT NOT NULL CHECK (made_by != ''),
    manifest          BLOB NOT NULL,
    signature         BLOB NOT NULL,    -- detached CMS, as all below
    taken_at          INTEGER,
    receipt           BLOB,
    receipt_signature BLOB,
    CHECK ((taken_at IS NULL) = (receipt IS NULL)),
    CHECK ((taken_at IS NULL) = (receipt_signature IS NULL))
);

CREATE TABLE archive_units (
    id           INTEGER PRIMARY KEY,
    application  INTEGER UNIQUE REFERENCES applications (id),
    decided_case INTEGER UNIQUE REFERENCES cases (id),
    made_at      INTEGER NOT NULL,
    made_by      TEXT NOT NULL CHECK (made_by != ''),
    manifest     BLOB NOT NULL,
    signature    BLOB NOT NULL,
    package      INTEGER REFERENCES archive_packages (id), -- by which it was handed over
    CHECK ((application IS NULL) != (decided_case IS NULL))
);
CREATE TRIGGER archive_units_stay BEFORE UPDATE ON archive_units
    WHEN NEW.manifest != OLD.manifest OR NEW.signature != OLD.signature OR OLD.package IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'what was signed for the archive stays as it is'); END;
CREATE TRIGGER archive_units_are_kept BEFORE DELETE ON archive_units
    BEGIN SELECT RAISE(ABORT, 'archive units are kept'); END;
CREATE TRIGGER archive_packages_stay BEFORE UPDATE ON archive_packages
    WHEN NEW.manifest != OLD.manifest OR NEW.signature != OLD.signature OR OLD.taken_at IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'what was signed for the archive stays as it is'); END;
CREATE TRIGGER archive_packages_are_kept BEFORE DELETE ON archive_packages
    BEGIN SELECT RAISE(ABORT, 'archive packages are kept'); END;

-- What the civil registry told, each once by its own number; no personal data.

CREATE TABLE registry_messages (
    id           TEXT PRIMARY KEY CHECK (id != ''), -- the registry's
    sequence     INTEGER NOT NULL,      -- the registry's; orders what took effect at one moment
    kind         TEXT NOT NULL,
    effective_at INTEGER NOT NULL,
    person       INTEGER REFERENCES people (id), -- NULL: nobody on record
    outcome      TEXT NOT NULL CHECK (outcome IN ('done', 'nothing', 'outdated', 'unknown')),
    received_at  INTEGER NOT NULL,
    received_by  TEXT NOT NULL CHECK (received_by != '')
) WITHOUT ROWID;
CREATE INDEX registry_messages_of_person ON registry_messages (person, kind, effective_at, sequence)
    WHERE person IS NOT NULL;
CREATE TRIGGER registry_messages_stay BEFORE UPDATE ON registry_messages
    BEGIN SELECT RAISE(ABORT, 'what the registry told stays as it is'); END;
CREATE TRIGGER registry_messages_are_kept BEFORE DELETE ON registry_messages
    BEGIN SELECT RAISE(ABORT, 'what the registry told is kept'); END;

-- The outbox: what is to be told, written with what it tells of. Whom and what is personal data of the row.

CREATE TABLE letters (
    id         INTEGER PRIMARY KEY,
    about      TEXT NOT NULL UNIQUE,    -- what it tells of, and how: told once, whatever is repeated
    template   TEXT NOT NULL,
    language   TEXT NOT NULL,
    medium     TEXT NOT NULL CHECK (medium IN ('mail', 'sms', 'webhook')),
    person     INTEGER REFERENCES people (id),
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'given_up')),
    attempts   INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,        -- not before
    expires_at INTEGER,                 -- given up then: a secret does not wait for ever
    created_at INTEGER NOT NULL,
    done_at    INTEGER,
    failure    TEXT,                    -- why the last attempt failed
    CHECK ((state = 'waiting') = (done_at IS NULL))
);
CREATE INDEX letters_due ON letters (medium, next_at, id) WHERE state = 'waiting';
CREATE INDEX letters_counted ON letters (state, medium);
CREATE INDEX letters_of_person ON letters (person, id) WHERE person IS NOT NULL;
CREATE INDEX letters_in_state ON letters (state, id);

CREATE TABLE webhooks (                 -- who is pushed the register's events
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,
    url           TEXT NOT NULL,
    sealed_secret BLOB,                 -- that deliveries are signed with: encrypted; NULL: removed
    sequence      INTEGER NOT NULL,     -- with expiry: up to where letters to it are written
    expiry        INTEGER NOT NULL,
    turn          INTEGER NOT NULL,     -- how often that was set back, to send once more
    added_at      INTEGER NOT NULL,
    added_by      TEXT NOT NULL,
    removed_at    INTEGER,
    removed_by    TEXT
);
CREATE UNIQUE INDEX webhooks_current ON webhooks (name) WHERE removed_at IS NULL;

CREATE TABLE carriers (                 -- cards and tokens, by the serial that is on them
    id      INTEGER PRIMARY KEY,
    kind    TEXT NOT NULL CHECK (kind IN ('id_card', 'token', 'mobile')),
    serial  TEXT NOT NULL,
    state   TEXT NOT NULL CHECK (state IN ('blank', 'issued', 'blocked', 'lost', 'damaged', 'retired')),
    version INTEGER NOT NULL,
    person  INTEGER REFERENCES people (id), -- NULL: nobody's yet
    organization INTEGER REFERENCES organizations (id), -- in whose inventory it is
    UNIQUE (kind, serial)
);
CREATE INDEX carriers_of_organization ON carriers (organization, id) WHERE organization IS NOT NULL;
CREATE INDEX carriers_of_person ON carriers (person, id) WHERE person IS NOT NULL;

CREATE TABLE carrier_events (
    carrier    INTEGER NOT NULL REFERENCES carriers (id),
    version    INTEGER NOT NULL,
    event      TEXT NOT NULL,
    from_state TEXT NOT NULL,           -- blank: it came in
    to_state   TEXT NOT NULL,
    actor      TEXT NOT NULL CHECK (actor != ''),
    ground     TEXT NOT NULL CHECK (ground != ''),
    at         INTEGER NOT NULL,
    PRIMARY KEY (carrier, version)
) WITHOUT ROWID;

CREATE TABLE carrier_certificates (     -- which carrier a certificate is on
    authority INTEGER NOT NULL,
    serial    BLOB NOT NULL,
    carrier   INTEGER NOT NULL REFERENCES carriers (id),
    PRIMARY KEY (authority, serial)
) WITHOUT ROWID;
CREATE INDEX carrier_certificates_on ON carrier_certificates (carrier);

CREATE TABLE unblock_codes (            -- of a token; the code itself stands encrypted in personal_data
    carrier        INTEGER PRIMARY KEY REFERENCES carriers (id),
    number         INTEGER NOT NULL,    -- how many codes of it were taken over
    state          TEXT NOT NULL CHECK (state IN ('kept', 'used')), -- used: the token gets another one
    changed_at     INTEGER NOT NULL,
    changed_by     TEXT NOT NULL,
    challenge_hash BLOB,                -- of the one that may be answered
    expires_at     INTEGER,
    attempts_left  INTEGER NOT NULL DEFAULT 0 CHECK (attempts_left >= 0),
    asked_since    INTEGER,             -- with asked: how many challenges since when
    asked          INTEGER NOT NULL DEFAULT 0,
    CHECK ((challenge_hash IS NULL) = (expires_at IS NULL))
);

CREATE TABLE plant_batches (            -- applications that a printing plant makes cards for
    id        INTEGER PRIMARY KEY,
    plant     TEXT NOT NULL,            -- the actor who pulled it
    pull_key  TEXT NOT NULL,            -- a pull repeated with it gives this batch
    asked     INTEGER NOT NULL,         -- how many cards it asked for
    cards     INTEGER NOT NULL,
    pulled_at INTEGER NOT NULL,
    due_at    INTEGER NOT NULL,
    closed_at INTEGER,                  -- when the last card had its result
    UNIQUE (plant, pull_key)
);
CREATE INDEX plant_batches_open ON plant_batches (plant, due_at) WHERE closed_at IS NULL;
CREATE INDEX plant_batches_of ON plant_batches (plant, id);

CREATE TABLE plant_cards (              -- one attempt at the card of an application
    reference   TEXT PRIMARY KEY REFERENCES credentials (reference), -- what the plant enrols it by
    batch       INTEGER NOT NULL REFERENCES plant_batches (id),
    application INTEGER NOT NULL REFERENCES applications (id),
    attempt     INTEGER NOT NULL,
    result      TEXT CHECK (result IN ('issued', 'failed')),
    failure     TEXT,
    reason      TEXT,                   -- without personal data
    carrier     TEXT,                   -- its serial, as reported
    authority   INTEGER,                -- with serial: the certificate that it had when its result came
    serial      BLOB,
    reported_at INTEGER,
    reported_by TEXT,
    CHECK ((result IS NULL) = (reported_at IS NULL)),
    CHECK ((result IS 'failed') = (failure IS NOT NULL)),
    CHECK ((authority IS NULL) = (serial IS NULL))
) WITHOUT ROWID;
CREATE INDEX plant_cards_of_batch ON plant_cards (batch, application);
CREATE INDEX plant_cards_of_application ON plant_cards (application);
-- An application is in one open batch at most, whatever the program does.
CREATE UNIQUE INDEX plant_cards_open ON plant_cards (application) WHERE result IS NULL;

CREATE TRIGGER carrier_events_stay BEFORE UPDATE ON carrier_events
    BEGIN SELECT RAISE(ABORT, 'carrier_events is append-only'); END;
CREATE TRIGGER carrier_events_are_kept BEFORE DELETE ON carrier_events
    BEGIN SELECT RAISE(ABORT, 'carrier_events is append-only'); END;
CREATE TRIGGER application_events_stay BEFORE UPDATE ON application_events
    BEGIN SELECT RAISE(ABORT, 'application_events is append-only'); END;
CREATE TRIGGER application_events_are_kept BEFORE DELETE ON application_events
    BEGIN SELECT RAISE(ABORT, 'application_events is append-only'); END;
CREATE TRIGGER organization_events_stay BEFORE UPDATE ON organization_events
    BEGIN SELECT RAISE(ABORT, 'organization_events is append-only'); END;
CREATE TRIGGER organization_events_are_kept BEFORE DELETE ON organization_events
    BEGIN SELECT RAISE(ABORT, 'organization_events is append-only'); END;
