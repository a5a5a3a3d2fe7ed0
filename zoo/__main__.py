"""`python -m zoo VERB ...`, the same as the console script `zoo`."""

from zoo.cli import main

raise SystemExit(main())
