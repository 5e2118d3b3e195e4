"""Connections to Qdrant: channels with credentials, and its errors as Creditline's."""
