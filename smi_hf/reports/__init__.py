"""Reports: one HTML file that shows results, from their records and folders alone. `write_report` makes one.

A section is a file here, with a function `section`, and the template of the same name.
"""
