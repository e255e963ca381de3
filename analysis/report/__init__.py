"""Reports of a verdict: for a terminal, a browser, a wiki, a spreadsheet and a program."""
