"""``python -m fxgrad``: the command line."""

from fxgrad.cli.main import main

raise SystemExit(main())
