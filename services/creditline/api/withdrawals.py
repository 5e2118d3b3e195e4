"""Conversion of withdrawal requests to and from protobuf."""

from __future__ import annotations

from creditline.api.answers import WithdrawalAnswer, WithdrawalStatus
from creditline.api.timestamps import read_timestamp, timestamp_message
from creditline.v1 import withdrawal_pb2

KIND_PREFIX, ACTION_PREFIX = "WITHDRAWAL_KIND_", "WITHDRAWAL_ACTION_"


def withdrawal_message(withdrawal: WithdrawalAnswer) -> withdrawal_pb2.Withdrawal:
    """Convert a withdrawal request to `creditline.v1.Withdrawal`."""
    return withdrawal_pb2.Withdrawal(
        **{
            **vars(withdrawal),
            "created": timestamp_message(withdrawal.created),
            "kind": KIND_PREFIX + withdrawal.kind,
            "action": ACTION_PREFIX + withdrawal.action,
        }
    )


def read_withdrawal(message: withdrawal_pb2.Withdrawal) -> WithdrawalAnswer:
    """Convert `creditline.v1.Withdrawal` to a withdrawal request."""
    return WithdrawalAnswer(
        sequence=message.sequence,
        id=message.id,
        created=read_timestamp(message.created),
        kind=withdrawal_pb2.WithdrawalKind.Name(message.kind).removeprefix(KIND_PREFIX),
        subject=message.subject,
        action=withdrawal_pb2.WithdrawalAction.Name(message.action).removeprefix(ACTION_PREFIX),
        reason=message.reason,
        requested_by=message.requested_by,
    )


def withdrawal_status_message(status: WithdrawalStatus) -> withdrawal_pb2.WithdrawalStatus:
    """Convert a withdrawal request with its progress to `creditline.v1.WithdrawalStatus`."""
    return withdrawal_pb2.WithdrawalStatus(
        **{**vars(status), "withdrawal": withdrawal_message(status.withdrawal)}
    )


def read_withdrawal_status(message: withdrawal_pb2.WithdrawalStatus) -> WithdrawalStatus:
    """Convert `creditline.v1.WithdrawalStatus` to a withdrawal request with its progress."""
    return WithdrawalStatus(
        withdrawal=read_withdrawal(message.withdrawal),
        works=message.works,
        carried_out=message.carried_out,
        pending=message.pending,
    )
