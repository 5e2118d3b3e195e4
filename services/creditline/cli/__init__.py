"""The `creditline` command: one module for each group of commands.

No other package imports its modules.
"""
