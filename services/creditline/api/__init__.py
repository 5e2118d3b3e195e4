"""The contract in Python: answers, and their conversion to and from protobuf messages."""
