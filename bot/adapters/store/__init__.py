"""What Lockkeeper remembers, on SQLite or PostgreSQL through SQLAlchemy Core.

Every record is an idempotent "ensure": repeating it changes nothing. Every transaction that
writes begins with a write, so that SQLite takes its lock (BEGIN IMMEDIATE) before anything is
read and PostgreSQL holds the row that serialises the rest. Several threads and processes may use
one database at once; a failure in the middle leaves nothing behind.
"""

from __future__ import annotations
