"""The typed Python clients of the gateway.

Public names: `CreditlineClient`, `AsyncCreditlineClient`, `AttributionQuery`, `CallOptions`, `NO_RETRIES`.
"""

from creditline.client.async_client import AsyncCreditlineClient as AsyncCreditlineClient
from creditline.client.calls import AttributionQuery as AttributionQuery
from creditline.client.client import CreditlineClient as CreditlineClient
from creditline.client.options import NO_RETRIES as NO_RETRIES
from creditline.client.options import CallOptions as CallOptions
