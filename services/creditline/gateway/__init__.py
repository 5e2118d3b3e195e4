"""The gateway: the public API as gRPC and REST in one process, over the same use cases.

No other room imports its modules.
"""

import os

# Read by numpy's OpenBLAS when numpy is imported, which nothing before this package does: its threads would
# wait busily for the next product, and the products here are small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
