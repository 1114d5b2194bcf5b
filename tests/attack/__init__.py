"""Attacks on the promises of onsager: kills, damaged files, several processes, full disks, random command lines.

    python -m tests.attack CAMPAIGN [--tries N] [--seconds S] [--seed K] [--first I]

Run it at the top of a checkout. Each campaign prints a table of counts, then every kind of failure with its smallest
example and the words that repeat it. The exit code is 1 if there is a failure.
"""
