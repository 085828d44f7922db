"""One line of JSON per log record: what an operator greps at night."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

from bot.domain.promotion import promotion_in_hand

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_QUIET: Final = ("urllib3", "git", "github", "waitress", "sqlalchemy", "werkzeug")


class JsonLines(logging.Formatter):
    """Time, level, logger, message, and every field that the call gave in ``extra``.

    What a job says has the promotion that it is about, beside.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; control characters cannot break it."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if promotion := promotion_in_hand():
            line["promotion"] = promotion
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def to_stderr(level: int = logging.INFO) -> None:
    """Send the log to standard error, ours from ``level`` on and other libraries' warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
