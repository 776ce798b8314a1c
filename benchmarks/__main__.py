"""``python -m benchmarks``: one thread for every library, decided before any of them loads."""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

from benchmarks.run import main  # noqa: E402  the line above must come first

raise SystemExit(main())
