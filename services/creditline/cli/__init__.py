"""The `creditline` command: one module for each group of commands.

No other room imports its modules.
"""
