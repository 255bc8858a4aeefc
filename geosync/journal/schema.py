"""The journal's tables, as migrations: every column with its meaning and unit.

Columns named `record` hold msgpack values that geosync.journal.records reads and writes. Digests
are keyed BLAKE3, 32 bytes; actors 16 random bytes; nodes and links 24 bytes, see
conflict.operations. Times are milliseconds since 1970 by this site's clock.
"""

from __future__ import annotations

TABLES = """
CREATE TABLE setting (              -- facts about this journal, one a row
    key TEXT PRIMARY KEY,           -- 'volume', 'site', 'actor', 'volume_key', 'clock_ticks', …
    value BLOB NOT NULL             -- text as UTF-8, integers as decimal digits, else raw bytes
) STRICT, WITHOUT ROWID;

CREATE TABLE actor (                -- every log that this site reads, its own included
    actor BLOB PRIMARY KEY,         -- its identity
    site TEXT NOT NULL,             -- the operator's name for the place; '' until its log told it
    next_sequence INTEGER NOT NULL, -- of the segment that comes next, from 0
    chain_digest BLOB NOT NULL,     -- of the segment before that; 32 zero bytes when there is none
    received INTEGER NOT NULL,      -- counter of its last operation that is in our merged tree
    knows BLOB NOT NULL,            -- version vector: what it had received, as it last told
    applied BLOB NOT NULL,          -- version vector: what was on its disk, as it last told
    segment_at_ms INTEGER NOT NULL, -- when its last segment was written, by its own clock
    heard_at_ms INTEGER NOT NULL,   -- when we read that segment
    problem TEXT NOT NULL           -- why its log is not read any further; '' when all is well
) STRICT, WITHOUT ROWID;

CREATE TABLE segment (              -- the log, as it is in the object store
    actor BLOB NOT NULL,            -- whose log it is a part of
    sequence INTEGER NOT NULL,      -- from 0, without gaps
    object BLOB NOT NULL,           -- the bytes in the store; a retry sends just these
    is_stored INTEGER NOT NULL,     -- 0 only for our own that the store has not acknowledged
    PRIMARY KEY (actor, sequence)
) STRICT;
CREATE INDEX segment_to_store ON segment (sequence) WHERE is_stored = 0;

CREATE TABLE outbox (               -- our transactions that are in no segment yet
    first_counter INTEGER PRIMARY KEY,-- of the transaction's first operation
    last_counter INTEGER NOT NULL,  -- of its last one
    record BLOB NOT NULL            -- the transaction
) STRICT;

CREATE TABLE pack (                 -- our own packs on their way to the store
    name TEXT PRIMARY KEY,          -- object name; the spool holds a file for it
    is_stored INTEGER NOT NULL      -- 1 once the store has acknowledged it
) STRICT, WITHOUT ROWID;

CREATE TABLE chunk (                -- where the bytes of contents are in the store
    digest BLOB PRIMARY KEY,        -- of the plain chunk
    pack TEXT NOT NULL,             -- object name
    offset_bytes INTEGER NOT NULL,  -- where it begins in the pack
    stored_size_bytes INTEGER NOT NULL,-- as it lies there, compressed or not
    size_bytes INTEGER NOT NULL,    -- of the plain chunk
    is_announced INTEGER NOT NULL   -- 0 only for our own that no segment of ours tells of yet
) STRICT, WITHOUT ROWID;
CREATE INDEX chunk_to_announce ON chunk (pack) WHERE is_announced = 0;

CREATE TABLE inline_chunk (         -- small contents that travel in segments
    digest BLOB PRIMARY KEY,        -- of the chunk
    chunk BLOB NOT NULL,            -- the plain bytes
    is_announced INTEGER NOT NULL   -- 0 only for our own that no segment of ours holds yet
) STRICT, WITHOUT ROWID;

CREATE TABLE node (                 -- the merged tree: one row a file or directory that ever was
    node BLOB PRIMARY KEY,          -- its identity
    is_contested INTEGER NOT NULL,  -- 1 when it has several versions, or one without a file
    record BLOB NOT NULL            -- names, versions, attributes
) STRICT, WITHOUT ROWID;
CREATE INDEX node_contested ON node (node) WHERE is_contested = 1;

CREATE TABLE live_link (            -- the merged tree: the names in it
    parent BLOB NOT NULL,           -- node of the directory
    name BLOB NOT NULL,             -- in that directory
    node BLOB NOT NULL,             -- which has the name
    link BLOB NOT NULL,             -- identity of this one of its names
    PRIMARY KEY (parent, name, node, link)
) STRICT, WITHOUT ROWID;

CREATE TABLE directory_move (       -- renames of directories, to sort in late ones
    epoch INTEGER NOT NULL,         -- epoch, ticks and actor are the stamp
    ticks INTEGER NOT NULL,         -- see there
    actor BLOB NOT NULL,            -- who renamed the directory
    record BLOB NOT NULL,           -- which directory, from where, where to
    PRIMARY KEY (epoch, ticks, actor)
) STRICT, WITHOUT ROWID;

CREATE TABLE synced (               -- the synced tree: what is on this site's disk
    entry INTEGER PRIMARY KEY,      -- local number; 0 is the root
    parent INTEGER NOT NULL,        -- entry of the directory; -1: parked out of the way
    name BLOB NOT NULL,             -- in that directory
    handle BLOB NOT NULL,           -- identity of the inode
    copy_of BLOB NOT NULL,          -- name of the file that this is a conflict copy of; else empty
    record BLOB NOT NULL            -- kind, stat, attributes, content, what it stands for
) STRICT;
CREATE INDEX synced_name ON synced (parent, name);
CREATE INDEX synced_handle ON synced (handle);
CREATE INDEX synced_copy ON synced (parent, copy_of) WHERE copy_of <> x'';

CREATE TABLE synced_node (          -- which nodes an entry on the disk stands for
    node BLOB NOT NULL,             -- of the merged tree
    entry INTEGER NOT NULL,         -- of the synced tree
    PRIMARY KEY (node, entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX synced_node_entry ON synced_node (entry);

CREATE TABLE intent (               -- changes of the disk that were begun, and perhaps done
    number INTEGER PRIMARY KEY,     -- in this order
    entry INTEGER NOT NULL,         -- of the synced tree: what the change is about
    handle BLOB NOT NULL,           -- inode at its path once it is done; empty: a new directory
    record BLOB                     -- the synced entry then; NULL for a removal
) STRICT;

CREATE TABLE mirrored (             -- conflict copies that lie in the private directory
    path BLOB PRIMARY KEY,          -- below the root, with the private directory
    digest BLOB NOT NULL            -- of the content that was put there
) STRICT, WITHOUT ROWID;

CREATE TABLE retired (              -- files taken from their names, while a program may write
    token BLOB PRIMARY KEY,         -- the disk's name for it in the trash
    handle BLOB NOT NULL,           -- identity of the inode
    size_bytes INTEGER NOT NULL,    -- size, mtime and ctime: when it was taken away
    mtime_ns INTEGER NOT NULL,      -- see there
    ctime_ns INTEGER NOT NULL,      -- see there
    since_ms INTEGER NOT NULL,      -- when it was taken away, or last written to
    record BLOB NOT NULL            -- the synced entry that it was
) STRICT, WITHOUT ROWID;

CREATE TABLE problem (              -- what an operator should know of, until it is mended
    subject BLOB PRIMARY KEY,       -- a path, 'actor <hex>', 'store', …
    since_ms INTEGER NOT NULL,      -- when it was first seen
    text TEXT NOT NULL              -- what was found, and what to do
) STRICT, WITHOUT ROWID;
"""

UNSET_TABLES = """
CREATE TABLE unset (                -- attributes of the volume that could not be set on this disk
    part BLOB NOT NULL,             -- which, see geosync.journal.unset_parts
    entry INTEGER NOT NULL,         -- of the synced tree
    PRIMARY KEY (part, entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX unset_entry ON unset (entry);
"""

DECLARATION_TABLES = """
CREATE TABLE declaration (          -- what sites told of the volume's life, our own included
    actor BLOB NOT NULL,            -- who declared it
    counter INTEGER NOT NULL,       -- of that actor's operation
    topic INTEGER NOT NULL,         -- see conflict.operations.Topic
    received BLOB NOT NULL,         -- version vector: what the author had received then
    record BLOB NOT NULL,           -- the operation
    PRIMARY KEY (actor, counter)
) STRICT, WITHOUT ROWID;
CREATE INDEX declaration_topic ON declaration (topic);
"""

SEVERAL_LOCATIONS = """
CREATE TABLE chunk_location (       -- where the bytes of contents are in the store: becomes chunk
    digest BLOB NOT NULL,           -- of the plain chunk
    pack TEXT NOT NULL,             -- object name
    offset_bytes INTEGER NOT NULL,  -- where it begins in the pack
    stored_size_bytes INTEGER NOT NULL,-- as it lies there, compressed or not
    size_bytes INTEGER NOT NULL,    -- of the plain chunk
    is_announced INTEGER NOT NULL,  -- 0 only for our own that no segment of ours tells of yet
    turn INTEGER NOT NULL,          -- of a chunk's places, the one with the highest is tried first
    PRIMARY KEY (digest, pack)
) STRICT, WITHOUT ROWID;
INSERT INTO chunk_location SELECT *, 0 FROM chunk;
DROP TABLE chunk;
ALTER TABLE chunk_location RENAME TO chunk;
CREATE INDEX chunk_to_announce ON chunk (pack) WHERE is_announced = 0;
"""

DRIFT_TABLES = """
CREATE TABLE drift (                -- what programs changed where nothing is captured
    path BLOB PRIMARY KEY,          -- below the root
    kind TEXT NOT NULL,             -- see conflict.drift
    since_ms INTEGER NOT NULL       -- when it was first seen
) STRICT, WITHOUT ROWID;

CREATE TABLE set_aside (            -- drift that was reverted, and is kept
    kept_at BLOB PRIMARY KEY,       -- below the root, in the private directory
    path BLOB NOT NULL,             -- where it was; empty when that is not known
    since_ms INTEGER NOT NULL       -- when it was set aside
) STRICT, WITHOUT ROWID;

CREATE TABLE late_write (           -- what a site wrote after another one had become the primary
    actor BLOB NOT NULL,            -- who wrote it
    counter INTEGER NOT NULL,       -- of that actor's operation
    path BLOB NOT NULL,             -- what it is about, when we heard of it
    what TEXT NOT NULL,             -- see conflict.fencing
    written_at_ms INTEGER NOT NULL, -- by its author's clock
    heard_at_ms INTEGER NOT NULL,   -- by ours
    PRIMARY KEY (actor, counter)
) STRICT, WITHOUT ROWID;
"""

BRAKE_TABLES = """
CREATE TABLE brake (                -- brakes that have engaged at this site
    actor BLOB NOT NULL,            -- with counter, its name: our declaration of it; or the first
    counter INTEGER NOT NULL,       -- of another actor's operations that it holds off our disk
    is_ours INTEGER NOT NULL,       -- 1: it holds back changes of our disk
    kind TEXT NOT NULL,             -- see conflict.brakes.BrakeKind
    reason TEXT NOT NULL,           -- in words, for the operator
    since_ms INTEGER NOT NULL,      -- when it engaged
    verdict INTEGER NOT NULL,       -- see transport.brake_record.Verdict; 0: it waits for one
    told_count INTEGER NOT NULL,    -- how many files the others were told of
    PRIMARY KEY (actor, counter)
) STRICT, WITHOUT ROWID;

CREATE TABLE held_entry (           -- what our own brakes hold
    entry INTEGER PRIMARY KEY,      -- of the synced tree: it is missing on the disk, or changed
    brake INTEGER NOT NULL,         -- counter of the brake
    since_ms INTEGER NOT NULL,      -- when that was seen first
    size_bytes INTEGER NOT NULL     -- of the content that would go
) STRICT;

CREATE TABLE passed_entry (         -- what was deleted or replaced lately, and captured
    kind TEXT NOT NULL,             -- as of a brake
    entry INTEGER NOT NULL,         -- of the synced tree as it was
    time_ms INTEGER NOT NULL,       -- when it was captured last
    size_bytes INTEGER NOT NULL,    -- of the content that went
    PRIMARY KEY (kind, entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX passed_entry_time ON passed_entry (kind, time_ms);

CREATE TABLE taken_away (           -- what operations of other actors would take off our disk
    actor BLOB NOT NULL,            -- whose operation
    counter INTEGER NOT NULL,       -- of the operation
    kind TEXT NOT NULL,             -- as of a brake
    node BLOB NOT NULL,             -- which file or directory
    time_ms INTEGER NOT NULL,       -- of the operation's stamp, by its author's clock
    size_bytes INTEGER NOT NULL,    -- of the content that would go
    is_held INTEGER NOT NULL,       -- 1: a brake keeps it off our disk
    PRIMARY KEY (actor, counter)
) STRICT, WITHOUT ROWID;
CREATE INDEX taken_away_held ON taken_away (node) WHERE is_held = 1;
"""

HISTORY_TABLES = """
CREATE TABLE past_version (         -- contents that files had before they were replaced
    node BLOB NOT NULL,             -- the file
    digest BLOB NOT NULL,           -- of the content
    version BLOB NOT NULL,          -- the operation that wrote it, as an identity
    written_at_ms INTEGER NOT NULL, -- by its author's clock
    PRIMARY KEY (node, digest, version)
) STRICT, WITHOUT ROWID;
"""

SETTLEMENT_TABLES = """
CREATE TABLE attempt (              -- conflicts that this site could not settle by itself
    contention BLOB PRIMARY KEY,    -- its versions, and the rule
    path BLOB NOT NULL,             -- below the root
    reason TEXT NOT NULL,           -- in words, for the operator
    tried_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE settlement (           -- conflicts that a person has settled here
    number INTEGER PRIMARY KEY,     -- in their order
    conflict TEXT NOT NULL,         -- identity of the losing version
    path BLOB NOT NULL,             -- below the root
    choice TEXT NOT NULL,           -- what was decided
    settled_at_ms INTEGER NOT NULL,
    winner BLOB,                    -- the version that had the name; NULL: there was none
    loser BLOB NOT NULL,            -- the version that was kept aside
    result BLOB NOT NULL,           -- digest of what had the name then; empty: nothing had it
    is_undone INTEGER NOT NULL      -- 1: they are back
) STRICT;
"""

COLLECTION_TABLES = """
CREATE TABLE awaited (              -- actors that have yet to tell that they have something of ours
    actor BLOB PRIMARY KEY,         -- whose word is missing
    counter INTEGER NOT NULL,       -- of an operation of ours that the store has
    silent_ms INTEGER NOT NULL      -- for how long, while we were at work and could read its log
) STRICT, WITHOUT ROWID;

CREATE TABLE replaced (             -- versions that no file shows any more
    node BLOB NOT NULL,             -- the file
    version BLOB NOT NULL,          -- the operation that wrote it, as an identity
    replaced_at_ms INTEGER NOT NULL,-- when that was noticed; 0: just now
    record BLOB NOT NULL,           -- content and attributes
    PRIMARY KEY (node, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX replaced_at ON replaced (replaced_at_ms);

CREATE TABLE doomed (               -- packs in our care that are to be deleted, or were
    pack TEXT PRIMARY KEY,          -- object name
    size_bytes INTEGER NOT NULL,    -- as far as it is known
    due_ms INTEGER NOT NULL,        -- when to delete it (again) at the earliest
    deletions INTEGER NOT NULL      -- how often that was done
) STRICT, WITHOUT ROWID;
CREATE INDEX chunk_pack ON chunk (pack);
"""

FORGETTING_TABLES = """
CREATE TABLE gone (                 -- nodes without any name in the tree
    node BLOB PRIMARY KEY,          -- which
    since_ms INTEGER NOT NULL       -- when a look found that; 0: no look has, since it last changed
) STRICT, WITHOUT ROWID;
CREATE INDEX gone_since ON gone (since_ms);

CREATE TABLE look (                 -- looks at the whole tree
    looked_at_ms INTEGER PRIMARY KEY,-- when
    received BLOB NOT NULL,         -- version vector: what was in the tree
    epoch INTEGER,                  -- with ticks and actor: the highest stamp of a directory's
    ticks INTEGER,                  -- rename that was known; NULL: there was none
    actor BLOB                      -- see there
) STRICT;

ALTER TABLE past_version ADD COLUMN
    replaced_at_ms INTEGER NOT NULL DEFAULT 0; -- when a look found that; 0: no look has yet
CREATE INDEX past_version_replaced ON past_version (replaced_at_ms);
"""

LARGE_FILE_TABLES = """
ALTER TABLE pack ADD COLUMN
    is_ahead INTEGER NOT NULL DEFAULT 0; -- 1: of a large file that is not captured yet
CREATE INDEX pack_to_store ON pack (name) WHERE is_stored = 0;
CREATE INDEX pack_ahead ON pack (name) WHERE is_ahead = 1;
"""

INLINE_TABLES = """
CREATE INDEX inline_to_announce ON inline_chunk (digest) WHERE is_announced = 0;
"""
