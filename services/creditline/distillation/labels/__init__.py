"""Queries, their candidates, and the influence that a teacher labels them with."""
