"""The tables of a store. Times are UTC in ISO 8601, durations in seconds, memory in bytes."""

from sqlalchemy import JSON, BigInteger, Column, Float, ForeignKey, Integer, MetaData, String, Table, Text

SCHEMA_VERSION = 3
"""Raised where an older mnfpn could not read, or would spoil, what a newer one writes; so where a key of `Measured`, of
`PlanRecord` or of the settings is new, gone or another."""

metadata = MetaData()
# What another table refers to has an index there: a row that is removed is looked for in all of them.

store = Table(
    "mnfpn_store",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

networks = Table(
    "mnfpn_networks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("settings", JSON, nullable=False),
)

cells = Table(
    "mnfpn_cells",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("network", ForeignKey(networks.c.id), nullable=False, index=True),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("runtime", String(40), nullable=False),
    Column("device", String(40), nullable=False),
    Column("dtype", String(40), nullable=False),
    Column("threads", Integer),
    Column("passes", String(40), nullable=False),  # `space.cells.PASSES`
    Column("place", Text, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("macs", BigInteger, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("backbone_channels", Integer, nullable=False),
    Column("channels", Integer, nullable=False),
    Column("levels", Integer, nullable=False),
    Column("finest_cells", BigInteger, nullable=False),
    Column("status", String(10), nullable=False, index=True),
    # Who is measuring it; ``beat`` changes while that process lives.
    Column("claimed_by", String(200), index=True),
    Column("beat", Integer, nullable=False, default=0),
)

results = Table(
    "mnfpn_results",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", ForeignKey(cells.c.key), nullable=False, index=True),
    Column("sweep", Integer, nullable=False),
    Column("status", String(10), nullable=False),
    Column("node", Text, nullable=False),
    Column("started", String(40), nullable=False),
    Column("finished", String(40), nullable=False),
    Column("latency_s", Float),  # the median; the samples are in the document
    Column("reason", Text),
    Column("document", JSON),  # `documents.work.Measured`
)

sweeps = Table(
    "mnfpn_sweeps",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("token", String(32), nullable=False),  # by which another store knows it, whatever its number there
    Column("started", String(40), nullable=False),
    Column("place", Text, nullable=False),
    Column("plan", JSON, nullable=False),  # `documents.sweep.PlanRecord`
)

members = Table(
    "mnfpn_members",
    metadata,
    Column("sweep", ForeignKey(sweeps.c.id), primary_key=True),
    Column("key", ForeignKey(cells.c.key), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
)

references = Table(
    "mnfpn_references",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("sweep", ForeignKey(sweeps.c.id), nullable=False, index=True),
    Column("key", ForeignKey(cells.c.key), nullable=False, index=True),
    Column("node", Text, nullable=False),
    Column("finished", String(40), nullable=False),
    Column("samples", JSON, nullable=False),
)
