"""The typed Python client of the gateway.

`CreditlineClient` is public.
"""

from creditline.client.client import CreditlineClient as CreditlineClient
