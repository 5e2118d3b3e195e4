"""What stands in for the servers on one machine: Qdrant Edge, an embedded Redis, and the process runner.

Public modules: `health`, `services`, `settings`, `stack`, `state`.
"""
