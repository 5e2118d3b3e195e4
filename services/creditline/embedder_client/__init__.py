"""Clients of the embedder service: one for queries, one for works.

Public modules: `queries`, `reranking`, `works`.
"""
