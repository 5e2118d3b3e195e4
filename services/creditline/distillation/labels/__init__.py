"""Queries, their candidates, and the teacher's influence as their labels."""
