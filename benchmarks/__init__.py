"""Speed and memory of nablatom beside its peer, one table: ``python -m benchmarks``.

inputs      the maps and labels that are worked on, for any library with metatensor's names
groups      what is called on them, and the bar that each call has to reach
clock       rounds, first and repeated calls, the copy bandwidth
bars        figure and bar -> ratio and verdict
agreement   both libraries must give the same result before a call is timed
processes   what needs an interpreter of its own: import, command line, resident memory
report      the table in Markdown, and the same as JSON
run         the command line
"""
