"""The parts of a pipeline directory: read strictly by their files, or refused with the file and the keys.

Public modules: none.
"""
