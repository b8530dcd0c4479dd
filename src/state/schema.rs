//! The database's shape. Migrations go forward only: a new step is appended, none is ever edited.

/// One script per schema version; the n-th leads from version n to n+1.
pub(super) const MIGRATIONS: &[&str] = &[
    // 1: catalogue and outbox
    "
    CREATE TABLE files (
        ino          INTEGER PRIMARY KEY AUTOINCREMENT,
        name         TEXT UNIQUE,      -- in the directory; NULL: not in it (vanished, scoped)
        suffixed     INTEGER NOT NULL DEFAULT 0,
        id           TEXT UNIQUE,      -- at the service; NULL: nothing confirmed yet
        filename     TEXT NOT NULL,    -- the service's label, or the one it will be sent under
        mime_type    TEXT NOT NULL,
        size         INTEGER NOT NULL, -- what stat shows: the newest local content's
        created_at   INTEGER NOT NULL, -- microseconds, the service's clock
        mtime        INTEGER NOT NULL, -- nanoseconds
        ctime        INTEGER NOT NULL, -- nanoseconds
        downloadable INTEGER NOT NULL,
        scope        TEXT,
        own          INTEGER NOT NULL, -- saved through this mount
        spared      INTEGER NOT NULL DEFAULT 0, -- its id is never deleted from here
        learned_at   INTEGER NOT NULL  -- milliseconds, when this id was first known here
    );
    -- Inode numbers start above the fixed ones of the root.
    INSERT INTO sqlite_sequence (name, seq) VALUES ('files', 15);

    -- Ids that listings may still show although they are deleted or replaced here.
    CREATE TABLE hidden (
        id         TEXT PRIMARY KEY,
        deleted_at INTEGER              -- milliseconds; NULL: the DELETE is not confirmed yet
    ) WITHOUT ROWID;

    -- Ids that are deleted once inode `ino` is confirmed under a new one.
    CREATE TABLE superseded (
        ino INTEGER NOT NULL,
        id  TEXT NOT NULL,
        PRIMARY KEY (ino, id)
    ) WITHOUT ROWID;

    CREATE TABLE outbox (
        seq        INTEGER PRIMARY KEY AUTOINCREMENT,
        kind       TEXT NOT NULL,       -- save | delete
        ino        INTEGER,             -- save
        name       TEXT NOT NULL,       -- for people
        size       INTEGER NOT NULL,
        mime_type  TEXT NOT NULL,
        inline     BLOB,                -- the body, or
        stage      TEXT,                -- its file under staged/, or
        held       INTEGER NOT NULL DEFAULT 0, -- the kept bytes of the id that is confirmed when it is sent
        id         TEXT,                -- delete: which
        renamed    INTEGER NOT NULL DEFAULT 0, -- delete: its bytes live on under another id
        not_before INTEGER NOT NULL,    -- milliseconds
        since      INTEGER NOT NULL,    -- milliseconds
        sent_at    INTEGER,             -- milliseconds: the service may have seen a try begun then
        tries      INTEGER NOT NULL DEFAULT 0,
        last_error TEXT
    );
    CREATE INDEX outbox_ino ON outbox (ino);

    CREATE TABLE facts (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    ",
    // 2: digests, what was replaced, what was never closed
    "
    ALTER TABLE files ADD COLUMN sha256 BLOB;        -- of the confirmed content, where it was saved here
    ALTER TABLE files ADD COLUMN kept_size INTEGER;  -- what its kept copy should have
    ALTER TABLE files ADD COLUMN kept_mtime INTEGER; -- nanoseconds, the same
    ALTER TABLE outbox ADD COLUMN sha256 BLOB;       -- save: of the content

    -- Rows as they were before a change here that the service has not confirmed; they come back when it is given up.
    -- One goes when its id is deleted at the service.
    CREATE TABLE former (
        id           TEXT PRIMARY KEY,
        name         TEXT,
        suffixed     INTEGER NOT NULL,
        filename     TEXT NOT NULL,
        mime_type    TEXT NOT NULL,
        size         INTEGER NOT NULL,
        created_at   INTEGER NOT NULL,
        mtime        INTEGER NOT NULL,
        downloadable INTEGER NOT NULL,
        own          INTEGER NOT NULL,
        spared       INTEGER NOT NULL,
        sha256       BLOB,
        kept_size    INTEGER,
        kept_mtime   INTEGER
    ) WITHOUT ROWID;

    -- Ids that another took the place of.
    CREATE TABLE replaced (
        id          TEXT PRIMARY KEY,
        successor   TEXT NOT NULL,
        name        TEXT NOT NULL,
        replaced_at INTEGER NOT NULL    -- milliseconds
    ) WITHOUT ROWID;

    -- Whose bytes the staged files of open drafts are, should the process die. Their names are those of the inodes.
    CREATE TABLE drafts (
        stage TEXT PRIMARY KEY,
        ino   INTEGER NOT NULL,
        since INTEGER NOT NULL          -- milliseconds
    ) WITHOUT ROWID;

    -- What was written and never closed when its mount ended.
    CREATE TABLE unfinished (
        seq    INTEGER PRIMARY KEY AUTOINCREMENT,
        name   TEXT NOT NULL,           -- in the directory
        size   INTEGER NOT NULL,
        inline BLOB,                    -- the bytes, or
        stage  TEXT,                    -- their file under staged/
        since  INTEGER NOT NULL,        -- milliseconds
        mtime  INTEGER NOT NULL         -- nanoseconds
    );
    ",
];
