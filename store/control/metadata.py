"""The one collection that every table of the control database belongs to, whichever file it stands in."""

from __future__ import annotations

from typing import Final

from sqlalchemy import MetaData

METADATA: Final = MetaData()
