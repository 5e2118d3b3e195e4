"""Releases on disk: one version of an encoder with its works' vectors, calibration and model card.

A release is read, and its manifest written, without torch.

Public modules: `parts`.
"""

from creditline.release.manifest import (
    CALIBRATION,
    CORPUS_FILE,
    DIRECTORY_VARIABLE,
    ENCODER,
    EVALUATION,
    FILES,
    INTERVALS,
    MANIFEST,
    MODEL_CARD,
    MORE_FILES,
    OOD_DETECTOR,
    PROMPT_AGREEMENT,
    TEACHER_DIRECTORY,
    TEACHER_STATISTICS,
    VECTORS,
    WORK_IDS,
    Part,
    Release,
    collection_name,
    file_sha256,
    open_release,
    packaged_release_directory,
    reference_release_directory,
    stated_part,
    write_manifest,
    write_work_vectors,
)

__all__ = [
    "CALIBRATION",
    "CORPUS_FILE",
    "DIRECTORY_VARIABLE",
    "ENCODER",
    "EVALUATION",
    "FILES",
    "INTERVALS",
    "MANIFEST",
    "MODEL_CARD",
    "MORE_FILES",
    "OOD_DETECTOR",
    "PROMPT_AGREEMENT",
    "TEACHER_DIRECTORY",
    "TEACHER_STATISTICS",
    "VECTORS",
    "WORK_IDS",
    "Part",
    "Release",
    "collection_name",
    "file_sha256",
    "open_release",
    "packaged_release_directory",
    "reference_release_directory",
    "stated_part",
    "write_manifest",
    "write_work_vectors",
]
