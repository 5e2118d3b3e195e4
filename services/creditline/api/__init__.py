"""The gateway's API in Python: answers, and their conversion to and from protobuf messages.

Public modules: `answers`, `attributions`, `audits`, `contributors`, `error_metadata`, `pages`,
`releases`, `vectors`, `withdrawals`, `works`.
"""
