"""All services on one machine: a local Qdrant, an embedded Redis, and the supervisor of the processes.

Public modules: `detached`, `health`, `services`, `settings`, `stack`, `state`.
"""
