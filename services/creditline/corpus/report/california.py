"""California's form, filled from counts.

Source: AB 2013 (Civil Code, section 3111(a)), items (1) to (12).
"""

from __future__ import annotations

from creditline.corpus.report.counts import CorpusCounts
from creditline.corpus.report.form import (
    Answer,
    Section,
    consent,
    contributors,
    listed,
    operator,
    origins,
    period,
    stated_licences,
)

TITLE = "Training data documentation (California, AB 2013)"


def california_sections(counts: CorpusCounts) -> tuple[Section, ...]:
    """The items of the law, in its order."""
    copied = [name for name in counts.licences if "public domain" in name.lower() or "cc0" in name.lower()]
    public = sum(counts.licences[name] for name in copied)
    fields = (
        (
            "(1) Sources or owners of the datasets",
            (
                *origins(counts),
                *contributors(counts),
                *operator("Owners of the datasets"),
            ),
        ),
        ("(2) How the datasets further the intended purpose", operator("Description")),
        (
            "(3) Number of data points",
            (Answer("Works", f"{counts.works:,}"), Answer("Pictures", f"{counts.with_picture:,}")),
        ),
        (
            "(4) Types of data points",
            (
                Answer("Data points", "pictures with captions"),
                Answer("Pictures, by media type", listed(counts.types)),
                *operator("Types of labels, or general characteristics"),
            ),
        ),
        (
            "(5) Copyright, trademark and patent",
            (
                *stated_licences(counts),
                Answer("Works whose licence states public domain or CC0", f"{public:,}"),
                *operator(
                    "Whether the data are protected by copyright, trademark or patent, or are public domain"
                ),
            ),
        ),
        (
            "(6) Purchase or licence",
            (
                *consent(counts, tuple(counts.consent)),
                *operator("Whether the datasets were purchased or licensed"),
            ),
        ),
        ("(7) Personal information", operator("Whether the datasets include personal information")),
        (
            "(8) Aggregate consumer information",
            operator("Whether the datasets include aggregate consumer information"),
        ),
        (
            "(9) Cleaning, processing or other modification",
            (
                Answer("Rows that hold no usable work and were left out", f"{counts.broken:,}"),
                *operator("Cleaning, processing or modification, and its purpose"),
            ),
        ),
        (
            "(10) Time period of collection",
            (*period(counts), *operator("Time period of collection, and whether it is ongoing")),
        ),
        ("(11) First use", operator("Dates when the datasets were first used in development")),
        (
            "(12) Synthetic data",
            (
                Answer("Pictures that say themselves that a model made them", f"{counts.model_made:,}"),
                *operator("Whether synthetic data generation is used, and for what"),
            ),
        ),
    )
    return tuple(Section(title, answers) for title, answers in fields)
