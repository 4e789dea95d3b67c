"""``python -m trio_wsclient`` is the command line."""

from __future__ import annotations

import sys

from trio_wsclient._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
