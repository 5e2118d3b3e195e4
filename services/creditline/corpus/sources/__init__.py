"""Corpora in their own formats, read as a stream that can resume at any row, and surveyed before use."""

from creditline.corpus.rights import RightsHolder
from creditline.corpus.sources.ahead import read_ahead
from creditline.corpus.sources.found import Found, Source
from creditline.corpus.sources.id_prefix import FILE as SOURCE_FILE
from creditline.corpus.sources.opening import KINDS, open_source
from creditline.corpus.sources.survey import Duplicate, Survey, survey

__all__ = [
    "KINDS",
    "SOURCE_FILE",
    "Duplicate",
    "Found",
    "RightsHolder",
    "Source",
    "Survey",
    "open_source",
    "read_ahead",
    "survey",
]
