"""Translation of Qdrant's protobuf messages to and from the types of Qdrant Edge."""
