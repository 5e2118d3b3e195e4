"""The gateway's API in Python: answers, and their conversion to and from protobuf messages.

Public modules: `answers`, `attributions`, `audits`, `error_metadata`, `releases`, `withdrawals`, `works`.
"""
