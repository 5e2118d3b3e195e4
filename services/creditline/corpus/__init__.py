"""Works and where they come from: sources, contributors, rights, consent, and withdrawals.

Public modules: `clip_features`, `consent.uses`, `directions`, `identity`, `names`, `openclipart`,
`report.counts`, `report.output`, `report.templates`, `rights`, `sources`, `sources.corpora`,
`sources.survey`, `texts`, `withdrawn`, `works`.
"""
