"""The embedder: a gRPC service that encodes pictures with their texts to vectors, in dynamic batches.

No other room imports its modules.
"""

import os

# Read by numpy's OpenBLAS when numpy is imported, which nothing before this package does. Its threads wait
# busily for the next product, on the cores that the towers' passes need: two of them took a third of the
# processor time of a forward pass. The products here are small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
