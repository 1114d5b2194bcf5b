"""Statements as data, judged from recorded tables: no JAX and no NumPy in here.

recorded   numbers out of the tables of a folder of experiments
measures   what is computed from them, and the limits it is held against
criteria   the vocabulary in which a claims file asks for both
claim      a claims file, and the verdict on each of its statements
verify     the command
"""
