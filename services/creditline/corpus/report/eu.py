"""The EU's form, filled from counts.

Source: the European Commission's template for the public summary of training content (24 July 2025;
Regulation (EU) 2024/1689, Article 53(1)(d)).
"""

from __future__ import annotations

import math

from creditline.corpus.report.counts import LOCAL, CorpusCounts
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

TITLE = "Public summary of training content (Regulation (EU) 2024/1689, Article 53(1)(d))"
# Ranges of the template for pictures.
_RANGES = ((1_000_000, "less than 1 million images"), (1_000_000_000, "1 million to 1 billion images"))
# Part of all domains that the template wants listed, by size of the content taken from them.
_LISTED_DOMAINS = 0.1
_TDM_USES = ("mining", "generative_training", "training")


def eu_sections(counts: CorpusCounts) -> tuple[Section, ...]:
    """The sections of the form, in its order."""
    return (
        Section(
            "1.1 Provider identification",
            operator(
                "Provider name and contact details", "Authorised representative name and contact details"
            ),
        ),
        Section(
            "1.2 Model identification",
            operator(
                "Versioned model name",
                "Model dependencies",
                "Date of placement of the model on the Union market",
            ),
        ),
        Section("1.3 Modalities, overall training data size and other characteristics", _size(counts)),
        Section(
            "2.1 Publicly available datasets",
            operator(
                "Names, links and versions of the datasets",
                "General description of other publicly available datasets",
            ),
        ),
        Section(
            "2.2 Private datasets obtained from third parties",
            operator(
                "Datasets commercially licensed by rightsholders or their representatives",
                "Other private datasets",
            ),
        ),
        Section("2.3 Data crawled and scraped from online sources", _domains(counts)),
        Section(
            "2.4 User data",
            operator(
                "Data from user interactions with the provider's models",
                "Data from user interactions with the provider's other services",
            ),
        ),
        Section("2.5 Synthetic data", _synthetic(counts)),
        Section(
            "2.6 Other sources of data",
            (
                *operator("Description of other sources"),
                *origins(counts),
                *contributors(counts),
                *stated_licences(counts),
            ),
        ),
        Section(
            "3.1 Respect of reservation of rights from the text and data mining exception",
            _reservations(counts),
        ),
        Section("3.2 Removal of illegal content", operator("Measures to avoid or remove illegal content")),
        Section("3.3 Other information", operator("Other relevant information about data processing")),
    )


def _size(counts: CorpusCounts) -> tuple[Answer, ...]:
    size = next((text for most, text in _RANGES if counts.with_picture < most), "more than 1 billion images")
    return (
        Answer("Modality", "image and text (captions)"),
        Answer("Training data size, images", f"{size} (exactly {counts.with_picture:,} pictures)"),
        Answer("Training data size, text", f"{counts.caption_characters:,} characters of captions"),
        Answer("Types of content, by media type", listed(counts.types)),
        *operator("Types of content, by what the pictures show", "Latest date of data acquisition"),
        *period(counts),
        *operator("Linguistic characteristics of the training data", "Additional comments"),
    )


def _domains(counts: CorpusCounts) -> tuple[Answer, ...]:
    domains = {host: amount for host, amount in counts.origins.items() if host != LOCAL}
    listed = list(domains.items())[: math.ceil(len(domains) * _LISTED_DOMAINS)]
    return (
        *operator("Names of the crawlers, their purposes and behaviour", "Period of data collection"),
        Answer("Number of domains in the works' addresses", f"{len(domains):,}"),
        Answer(
            "Domains, the top 10 % by size of the content",
            tuple(f"{host}: {one.works:,} works, {one.size:,} bytes" for host, one in listed) or "none",
        ),
    )


def _synthetic(counts: CorpusCounts) -> tuple[Answer, ...]:
    return (
        Answer("Pictures that say themselves that a model made them", f"{counts.model_made:,}"),
        *operator("Synthetic data created by or for the provider, and the models that made it"),
    )


def _reservations(counts: CorpusCounts) -> tuple[Answer, ...]:
    return (
        *consent(counts, _TDM_USES),
        *operator("Measures and opt-out protocols that were honoured before and during data collection"),
    )
