"""What one collector is told at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class CollectorSettings:
    """Sizes in bytes, durations in seconds. `data_dir` holds journal/ and secrets/; `lake_root` the lake."""

    data_dir: Path
    lake_root: str
    host: str = "127.0.0.1"
    grpc_port: int = 4317
    http_port: int = 4318
    max_body_bytes: int = 64 << 20
    header_timeout_s: float = 30.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 120.0
    linger_s: float = 0.25  # how long the committer waits for more before it commits
    batch_bytes: int = 12 << 20  # ... and how much is enough
    memory_bytes: int = 16 << 20  # acknowledged bytes kept in memory; beyond, they are read back from the journal
    backlog_bytes: int = 1 << 30  # acknowledged and not committed; beyond, requests are refused (priority spans not)
    tenant_bytes_s: tuple[tuple[str, int], ...] = ()  # quotas: body bytes a second by tenant, of all others under "*"
    min_free_bytes: int = 128 << 20
    segment_bytes: int = 64 << 20  # from when on the journal begins another segment
    journal_retention_s: float = 0.0  # how long sealed segments outlive their commit
    compact_every_s: float = 60.0
    stop_within_s: float = 8.0  # from the signal on; what is not stored by then waits in the journal

    @property
    def lake_cache(self) -> Path:
        """Folder of what was read of a lake in an object store; may be deleted."""
        return self.data_dir / "lake-cache"
