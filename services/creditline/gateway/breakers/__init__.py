"""Circuit breakers: a service that keeps failing is left alone for a while, and requests fail at once.

Public modules: `breakers`, `metrics`.
"""
