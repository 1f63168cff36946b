from __future__ import annotations

from projrun.cli.main import main

main()
