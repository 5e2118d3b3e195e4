"""Distillation of the teacher into an encoder: queries, candidates, labels, training, assessment, release.

Public modules: `labels.label_set`, `labels.labelling`, `labels.queries`, `labels.teachers`, `pipeline`,
`release.publication`, `release.reranking`, `release.verification`, `run_config`, `training.feature_store`.
"""
