"""Real servers, each in a process of its own, and `trio_wsclient` talking to them."""
