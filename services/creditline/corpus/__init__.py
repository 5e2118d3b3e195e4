"""Works and where they come from: sources, contributors, rights, and withdrawals.

Public modules: `clip_features`, `identity`, `names`, `openclipart`, `sources`, `sources.corpora`,
`sources.survey`, `texts`, `withdrawn`, `works`.
"""
