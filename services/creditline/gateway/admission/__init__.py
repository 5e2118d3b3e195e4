"""Admission: a request that cannot be answered before its deadline is refused at once, over both faces.

Public modules: `admission`, `metrics`.
"""
