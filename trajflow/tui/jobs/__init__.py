"""The only door of the terminal application to files, threads and processes."""
