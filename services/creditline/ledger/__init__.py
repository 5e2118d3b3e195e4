"""Durable, hash-chained record of served attributions, their audits, withdrawals, and merged contributors.

Public modules: `additions`, `api.replies`, `keys`, `merges`, `requests`, `statistics`, `verification`,
`withdrawals`.
"""

from creditline.ledger.additions import AdditionKind as AdditionKind
from creditline.ledger.additions import AdditionRecord as AdditionRecord
from creditline.ledger.additions import Additions as Additions
from creditline.ledger.allowances import Allowance as Allowance
from creditline.ledger.database.store import StoreLimits as StoreLimits
from creditline.ledger.database.store import default_ledger_url as default_ledger_url
from creditline.ledger.database.store import ledger_exists as ledger_exists
from creditline.ledger.keys import ApiKey as ApiKey
from creditline.ledger.keys import IssuedKey as IssuedKey
from creditline.ledger.keys import KeyRegistry as KeyRegistry
from creditline.ledger.keys import KeyState as KeyState
from creditline.ledger.keys import Scope as Scope
from creditline.ledger.ledger import Ledger as Ledger
from creditline.ledger.records import EXPECTED as EXPECTED
from creditline.ledger.records import FORM as FORM
from creditline.ledger.records import FROM_PICTURE_ALONE as FROM_PICTURE_ALONE
from creditline.ledger.records import PRIVATE as PRIVATE
from creditline.ledger.records import RERANKED_WORKS as RERANKED_WORKS
from creditline.ledger.records import Accuracy as Accuracy
from creditline.ledger.records import Audit as Audit
from creditline.ledger.records import AuditState as AuditState
from creditline.ledger.records import Merge as Merge
from creditline.ledger.records import MergeAction as MergeAction
from creditline.ledger.records import OutboxEntry as OutboxEntry
from creditline.ledger.records import StoredAttribution as StoredAttribution
from creditline.ledger.records import Withdrawal as Withdrawal
from creditline.ledger.records import WithdrawalAction as WithdrawalAction
from creditline.ledger.records import WithdrawalKind as WithdrawalKind
from creditline.ledger.settings import LedgerSettings as LedgerSettings
