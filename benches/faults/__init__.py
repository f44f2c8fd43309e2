"""What a study survives: kills at random moments, two starts at once, full disks, damaged files, other clocks and more.

    python -m benches.faults [--kills 200] [--seed 0] [--only kill damage ...] [--keep FOLDER]

Every stage is real and runs by its own command, on a small phantom world. First the whole study is made undisturbed; each
fault then gets a copy of it that lacks one run, and strikes while that run is made. Survived: the same command, given again,
ends with the outputs of the undisturbed run, to the bit; or, where a file was damaged, names that file in its last words.
Prints a table, and on stderr what was lost, with what would make that fault again. docs/reliability.md is what it printed.
"""
