"""What Lockkeeper remembers, on SQLite or PostgreSQL through SQLAlchemy Core.

Every record is an idempotent "ensure": repeating it changes nothing. Every transaction that
writes begins with a write, so that SQLite takes its lock (BEGIN IMMEDIATE) before anything is
read and PostgreSQL holds the row that serialises the rest. Several threads and processes may use
one database at once; a failure in the middle leaves nothing behind.
"""

from __future__ import annotations

from bot.adapters.store.audit import AuditStore
from bot.adapters.store.blob_index import BlobStore
from bot.adapters.store.chronicle import ChronicleStore
from bot.adapters.store.commands import CommandStore
from bot.adapters.store.database import demand, inspect, migrate, name_of, open_database
from bot.adapters.store.evaluations import EvaluationStore
from bot.adapters.store.memory import MemoryStore
from bot.adapters.store.notices import NoticeStore
from bot.adapters.store.outgoing import OutgoingStore
from bot.adapters.store.proofs import Proofs
from bot.adapters.store.renderings import RenderingStore
from bot.adapters.store.reports import ReportStore
from bot.adapters.store.schema import MIGRATIONS

__all__ = [
    "MIGRATIONS",
    "AuditStore",
    "BlobStore",
    "ChronicleStore",
    "CommandStore",
    "EvaluationStore",
    "MemoryStore",
    "NoticeStore",
    "OutgoingStore",
    "Proofs",
    "RenderingStore",
    "ReportStore",
    "demand",
    "inspect",
    "migrate",
    "name_of",
    "open_database",
]
