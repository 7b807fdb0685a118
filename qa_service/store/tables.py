"""The tables of the store, after the newest migration."""

from sqlalchemy import Boolean, Column, Date, DateTime, Float, Integer, MetaData, String, Table, Text

METADATA = MetaData()
FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("answer_id", String(26), nullable=False, index=True),
    Column("helpful", Boolean, nullable=False),
    Column("reason", String(2000)),
)
QUESTIONS = Table(
    "questions",
    METADATA,
    Column("answer_id", String(26), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, index=True),
    Column("question", Text, nullable=False),
    Column("lang", String(2), nullable=False),
    Column("status", String(20), nullable=False),
    Column("entry", String(120)),
    Column("confidence", Float, nullable=False),
)
"""Questions with their answer's id and status; empty unless NUMSTAB_KEEP_QUESTIONS is set."""
ANSWER_COUNTS = Table(
    "asked",
    METADATA,
    Column("day", Date, primary_key=True),
    Column("entry", String(120), primary_key=True),
    Column("status", String(20), primary_key=True),
    Column("lang", String(2), primary_key=True),
    Column("count", Integer, nullable=False),
)
"""Counts of answers by day, without questions. `entry` is empty if none answered."""
API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("scopes", String(100), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("made", String(40), nullable=False),
)
"""API keys: scopes separated by spaces, hash of the secret, time of creation. Empty if they are stored in a file."""
