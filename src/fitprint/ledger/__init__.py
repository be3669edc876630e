"""The record of all runs: a journal per process and a database that is rebuilt from journals."""
