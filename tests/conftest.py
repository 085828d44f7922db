"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# Time is measured by `make bench`, never by a test: a busy machine is no finding.
settings.register_profile("lockkeeper", deadline=None)
settings.load_profile("lockkeeper")
