"""The typed Python client of the gateway."""

from creditline.client.client import CreditlineClient as CreditlineClient
