"""The typed Python client of the gateway.

Public names: `CreditlineClient`.
"""

from creditline.client.client import CreditlineClient as CreditlineClient
