"""Certificates, keys and secrets in files: checked at a start, followed while a service runs.

Public modules: `channels`, `expiry`, `following`, `handshakes`, `qdrant`, `secret_files`, `servers`,
`settings`, `tls_files`.
"""
