"""The report of a data set: one HTML file that shows what came in, what was dropped and why."""
