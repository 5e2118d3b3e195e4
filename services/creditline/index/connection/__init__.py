"""Connections to Qdrant: its protocol, channels with credentials, and its errors as Creditline's."""
