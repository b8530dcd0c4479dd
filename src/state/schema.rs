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
    // 3: scratch files
    "
    ALTER TABLE files ADD COLUMN scratch INTEGER NOT NULL DEFAULT 0; -- local for as long as it has its name
    CREATE INDEX files_scratch ON files (ino) WHERE scratch = 1;
    ALTER TABLE outbox ADD COLUMN heir INTEGER; -- save: whose scratch file took the place of its inode's meanwhile
    ",
    // 4: directories of sessions, and of outputs
    "
    ALTER TABLE files ADD COLUMN scoped_name TEXT;   -- in its session's directory; NULL: not in one
    CREATE UNIQUE INDEX files_scoped ON files (scope, scoped_name) WHERE scope IS NOT NULL;
    -- An index ends in the row's number: a session's files in the order of theirs.
    CREATE INDEX files_scope ON files (scope) WHERE scope IS NOT NULL;
    CREATE INDEX files_outputs ON files (ino) WHERE downloadable = 1 AND name IS NOT NULL;
    ALTER TABLE hidden ADD COLUMN scope TEXT;        -- which listing may still show it; NULL: the workspace's
    ",
    // 5: files that expire
    "
    ALTER TABLE files ADD COLUMN expires_at INTEGER; -- microseconds, the service's clock; NULL: never, or not told
    ALTER TABLE files ADD COLUMN expired INTEGER NOT NULL DEFAULT 0; -- the service has said so
    CREATE INDEX files_expire ON files (expires_at) WHERE expires_at IS NOT NULL;
    ",
    // 6: downloaded copies that stay
    "
    CREATE TABLE pinned (id TEXT PRIMARY KEY) WITHOUT ROWID;
    ",
    // 7: ids that are in somebody's prompts
    "
    CREATE TABLE given (id TEXT PRIMARY KEY) WITHOUT ROWID;
    -- Replaced files whose deletions are to come.
    CREATE TABLE lingering (
        id    TEXT PRIMARY KEY,
        name  TEXT NOT NULL,             -- for people
        doom  INTEGER NOT NULL,          -- as outbox.renamed
        until INTEGER NOT NULL           -- milliseconds
    ) WITHOUT ROWID;
    CREATE INDEX lingering_until ON lingering (until);
    ",
    // 8: saves with a time of their own
    "
    ALTER TABLE outbox ADD COLUMN expires_in INTEGER; -- save: seconds; NULL: as the mount says
    ",
];

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::{Doom, PendingBody, State, Work};
    use super::*;
    use crate::api::FileId;

    #[test]
    fn what_an_earlier_version_left_is_all_there() {
        let dir = tempfile::tempdir().unwrap();
        let old = Connection::open(dir.path().join("state.db")).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute_batch(
            "INSERT INTO files (name, id, filename, mime_type, size, created_at, mtime, ctime, downloadable, own, \
             learned_at) VALUES ('a', 'file_a', 'a', 'text/plain', 4, 1, 2, 3, 0, 1, 5);
             INSERT INTO outbox (kind, ino, name, size, mime_type, inline, not_before, since) \
             SELECT 'save', ino, 'a', 4, 'text/plain', x'74657874', 0, 6 FROM files;
             INSERT INTO outbox (kind, name, size, mime_type, id, renamed, not_before, since) \
             VALUES ('delete', 'b', 0, '', 'file_b', 1, 0, 7);
             INSERT INTO hidden (id) VALUES ('file_b');
             INSERT INTO files (id, filename, mime_type, size, created_at, mtime, ctime, downloadable, scope, own, \
             learned_at) VALUES ('file_s', 'a', 'text/plain', 4, 1, 2, 3, 1, 'sesn_1', 0, 5);
             PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(old);

        let state = State::open(dir.path()).unwrap();
        state.recover().unwrap();
        let row = state.lookup("a").unwrap().unwrap();
        assert_eq!(row.id, Some(FileId::new("file_a")));
        assert_eq!((row.digest, row.kept), (None, None));
        assert_eq!((row.expires_at, row.is_expired), (None, false));
        // It gets its name in the session's directory when it is listed there.
        let scoped = state.row_of_id(&FileId::new("file_s")).unwrap().unwrap();
        assert_eq!(scoped.scope.as_deref(), Some("sesn_1"));
        assert!(!scoped.is_shown());
        assert_eq!(state.pinned().unwrap(), []);
        let body = state.pending_body(row.ino).unwrap();
        assert_eq!(body, Some(PendingBody::Inline(b"text".to_vec())));
        let pending = state.pending();
        assert!(matches!(
            pending[0].record.work,
            Work::Save { digest: None, .. }
        ));
        let delete = Work::Delete {
            id: FileId::new("file_b"),
            doom: Doom::Renamed,
        };
        assert_eq!((pending.len(), &pending[1].record.work), (2, &delete));
        assert!(state.is_known_id(&FileId::new("file_b")).unwrap());
    }
}
