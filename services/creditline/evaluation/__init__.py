"""Evaluation against retraining: the lab and its retrained models, LDS, and agreement with the teacher.

Public modules: `agreement`, `bootstrap`, `lab.common_scale`, `lab.draws`, `lab.exact.picture_quality`,
`lab.exact.plan`, `lab.exact.record`, `lab.exact.scores`, `lab.exact.setting`, `lab.exact.smooth_models`,
`lab.exact.workshop`, `lab.judging.conditions`, `lab.judging.fitting`, `lab.judging.groups`,
`lab.judging.kernels`, `lab.judging.scoring`, `lab.judging.tuning`, `lab.plan`, `lab.record`,
`lab.removal.extending`, `lab.removal.removals`, `lab.restoring`, `lab.retraining.models`,
`lab.retraining.workshop`, `lab.setting`, `verdict`.
"""
