"""Fourth floor: the command line, the table of methods, studies, statistics and the report."""
