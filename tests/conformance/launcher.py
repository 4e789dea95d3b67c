"""Start a suite's server out of the directory that it was installed into.

    python launcher.py DIRECTORY autobahntestsuite|kosoku ARGUMENT...

Speaks Python 2.7 too, since autobahntestsuite knows nothing newer. The server listens on a free
port of 127.0.0.1, prints `listening on ws://127.0.0.1:PORT`, and ends when its standard input does.
"""

# ruff: noqa: PLC0415, UP010, UP031 - the suite decides on the imports and on the Python

from __future__ import print_function

import os
import site
import sys
import threading


def prefer(directory):
    # PYTHONPATH would not do: zope.interface is a namespace package out of a .pth file. And
    # addsitedir alone would let the interpreter's own packages hide the pinned ones.
    others = sys.path[1:]  # without the folder of this file
    site.addsitedir(directory)
    sys.path[:] = [path for path in sys.path[1:] if path not in others] + others


def end_with_parent():
    # A parent that is killed can't end us, but the kernel closes its end of the pipe.
    while os.read(0, 1024):
        pass
    os._exit(0)


def autobahntestsuite():
    from autobahntestsuite import wstest  # before the reactor, which it chooses
    from twisted.internet import reactor

    listen = reactor.listenTCP

    def listen_on_loopback(port, factory, backlog=50, interface=""):
        listening = listen(0, factory, backlog, "127.0.0.1")
        # A Host header with another port than this one is refused.
        factory.externalPort = listening.getHost().port
        print("listening on ws://127.0.0.1:%d" % factory.externalPort)
        sys.stdout.flush()
        return listening

    reactor.listenTCP = listen_on_loopback
    wstest.run()


def kosoku():
    from importlib.metadata import distribution

    (script,) = distribution("kosoku").entry_points.select(group="console_scripts")
    script.load()()


if __name__ == "__main__":
    directory, suite = sys.argv[1:3]
    del sys.argv[1:3]
    prefer(directory)
    watch = threading.Thread(target=end_with_parent)
    watch.daemon = True
    watch.start()
    {"autobahntestsuite": autobahntestsuite, "kosoku": kosoku}[suite]()
