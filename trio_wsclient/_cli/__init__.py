"""The command line, ``trio-wsclient``.

* `main` runs a command, and tells by the exit status how it ended.
* `arguments` parses the arguments, and makes the options of a connection of them.
* `connect`, `bench` and `demo` have a command each.
* `terminal` writes to standard output and standard error.
"""
