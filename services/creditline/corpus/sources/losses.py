"""Kinds of losses: why rows of a source hold no work, in the words under which a survey counts them."""

from __future__ import annotations

NO_CAPTION = "without a caption"
LONG_CAPTION = "caption too long"
NO_PICTURE = "without a picture"
EMPTY_PICTURE = "empty picture"
UNREADABLE_PICTURE = "picture not decoded"
OTHER_FORMAT = "picture format not read"
EXTRA_PICTURE = "map, mask or other view of a work"
MISSING_FILE = "picture file missing"
BROKEN_ROW = "broken row of a table"
BROKEN_METADATA = "metadata not readable"
BROKEN_RIGHTS = "rights holders not understood"
DAMAGED_FILE = "file cut off or damaged"
NO_FEATURES = "features not usable"
NOT_DOWNLOADED = "download failed"
OTHER = "other reasons"
