"""Creditline: which training images does a generated picture owe, how strongly, and who made them?"""

__version__ = "0.1.0"
